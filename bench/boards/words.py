"""What the columns and marks of the tables mean, in words."""

from __future__ import annotations

from collections.abc import Sequence

from bench.records.metrics import METRICS, TEST_TIME

from .attacks import AFTER, ASR, NATURAL, SHARE, AttackBoard
from .judged import AREA, DETECTORS, ENCODERS, JudgedBoard
from .lines import COUNTS
from .overview import MEAN, WORST, Overview
from .rows import COST, LOST, PACE, SECONDS, UNDEFINED
from .tables import COLOURS, SOLVED, Leaderboard

WORDS = {
    **{metric.title.format(k="k"): metric.help for metric in METRICS if metric.board and TEST_TIME not in metric.where},
    "triggered": "the same with the trigger in each image.",
    LOST: "how far the triggered ASR is above that of the oracle (which removes exactly the poisoned images), plus how "
    "far the ACC is below the oracle's, in percentage points, seed by seed on the same threat model; what is better "
    "than the oracle counts nothing, so that deleting a whole class cannot win (where the whole class is poisoned, "
    "the oracle deletes it, too). Without an oracle there is none.",
    COST: "seconds in which a repair made the new encoder out of the old one, in percent of the first training's.",
    SECONDS: "of all stages that the line depends on; of runs to the end.",
    "±": "half the width of the 95 % interval of the mean over the seeds (Student's t); one seed has none.",
    "bold, \u2248": "bold is the best mean of a column as far as its digits show, controls apart and each status for "
    "itself; \u2248 marks means that are compared with it and not told apart. Neither where all are equal, nor for a "
    "number that is undefined in some seeds.",
    "\u2191, \u2193": "higher is better, lower is better.",
    "rank": "1 + the number of lines of the same kind and status that are better and told apart, but none above a line "
    "whose mean is better. Neighbours of different rank need not be told apart from each other. Detection is ranked by "
    "AP and, where that does not tell two lines apart, by R@1%; full runs by points lost. "
    "What a combination detects is its filter's, which is ranked for it. A line that shares two seeds with no other of "
    f"its kind and status has no rank, nor has the detection of an attack on which {', '.join(COLOURS[:-1])} or "
    f"{COLOURS[-1]} reaches AP {SOLVED:.0f}: colours alone solve it.",
    "seeds": "how many; 5 (3): of the full runs three. The line none has those of the full runs, where there are any.",
    "told apart": "the paired t interval of the difference, over the seeds that both lines have on the same threat "
    "models, leaves out zero. The intervals of all pairs of defenses of one table and metric hold together with 95 % "
    "(Bonferroni), and so do those of defenses with baselines, and of every other two kinds. Fewer than two common "
    "seeds are not compared, nor are two that agree to the last digit told apart. `bench compare` prints them.",
    "detection": "of every run with a verdict, also those that end there; lines that neither score nor remove an image "
    "are left out. Full runs have a second training.",
    "baseline": "a plain score with one rule for its threshold, to compare defenses with.",
    "control": "sees the truth and is no defense; none: no defense at all.",
    "status": "measured: run by whoever made the table, in the published ones the maintainers; submitted: sent in, "
    "each metric computed again from its predictions and masks; paper-reported: as a paper prints it.",
}
"""What the columns mean. Shares are percent."""
JUDGED = {
    DETECTORS: {
        "test-time detector": "scores single images that the encoder is given; half of the validation images as they "
        "are, the other half with a trigger, each image once. Bold and \u2248 are attack by attack; the rank is "
        "of the mean over the attacks that poison. A detector that tells images with a trigger where no encoder has a "
        "backdoor, too (no-attack; 50: it does not), tells patches, not backdoors.",
        **{metric.title: metric.help for metric in METRICS if metric.board and TEST_TIME in metric.where},
        PACE: "milliseconds of the stage of a detector, its process's start (up to three seconds) and what it does "
        "with the training images included, by the number of test images.",
    },
    ENCODERS: {
        "encoder verdict": "one score for each encoder, over all threat models of the table, each counted once. "
        "Encoders of several attacks and seeds are no sample of anything, so there is no interval.",
        AREA: "how often an encoder that was trained on poisoned images scores higher than one that was not, ties "
        "counted half, in percent; whether the attack works is not asked. Undefined without encoders of both kinds.",
        COUNTS[0]: "number of encoders that were trained on poisoned images.",
        COUNTS[1]: "number of those that were not (attack no-attack).",
    },
}
"""What those of detectors and of encoder tests mean."""
OVERALL = {
    "all attacks": f"average precision, and points lost, against each attack. {MEAN}: over the attacks, seed by seed, "
    f"which alone ranks these lines; {WORST}: the least favourable attack of each seed. Only lines with a number "
    "for every attack have either. clean removed: the share that is removed where nothing is poisoned. "
    "A score that knows nothing has the share of poisoned images as its average precision, which differs by attack. "
    f"Where the baselines {' or '.join(COLOURS)} reach AP {SOLVED:.0f} on over a third of the attacks, detection has "
    "no ranks: a table that a statistic of the colours solves does not tell defenses apart. "
    "`bench compare --attack all` compares two of these lines.",
}
"""What the tables of all attacks show."""
ATTACKS = {
    SHARE: "training images that are poisoned.",
    ASR: "In the tables of attacks: with the trigger, by the encoder that was trained on poison.",
    NATURAL: "the same of an encoder trained on the same images without any trigger (the control clean-set): what the "
    "trigger does by itself.",
    AFTER: "the same where exactly the poisoned images were removed and a new encoder was trained on the rest.",
}
"""What the tables of attacks show."""
RULE = (
    "Rank: 1 + the number of lines of the same kind and status that are better and told apart; so rank 1 says that no "
    "line was shown to be better, and with few seeds that is no win."
)
"""The rule in a sentence; WORDS has all of it."""
MARKED = (
    "Bold: the best mean of a column, controls apart. \u00b1: 95 % interval of that mean alone. \u2248: not told apart "
    "from the best; \u2248 and ranks look at all pairs of a table together, and at differences seed by seed, so two "
    "means whose \u00b1 do not meet may be \u2248, and a wide interval earns it, too.\n"
    "Average precision (AP): how well the scores order the images; 100: all poisoned ones come first. Points lost: ASR "
    "above that after perfect removal, plus ACC below it."
)


def words_of(tables: Sequence[Leaderboard]) -> dict[str, str]:
    """WORDS, without that of a column that only some tables have where none of the lines has it, and those of the other
    kinds of tables that there are."""
    kinds = {table.judges for table in tables if isinstance(table, JudgedBoard)}
    repaired = any(line.cell(COST) != UNDEFINED for table in tables for line in table.lines)
    words = {word: text for word, text in WORDS.items() if repaired or word != COST}
    words |= OVERALL if any(isinstance(table, Overview) for table in tables) else {}
    if any(isinstance(table, AttackBoard) for table in tables):
        words |= {word: f"{words[word]} {text}" if word in words else text for word, text in ATTACKS.items()}
    return words | {word: text for kind, more in JUDGED.items() if kind in kinds for word, text in more.items()}
