"""The studies, as data. Each follows a figure or table of the PoisonCAM paper. Where the paper's values are not known,
or fit only 224 px and 127,000 images, ours are multiples of the preset's own."""

from __future__ import annotations

from bench.errors import BenchError, nearest

from .steps import Epochs, Multiples, Values
from .study import Depth, Line, Panel, Study

POISONCAM = Line(label="PoisonCAM", defense="poisoncam")

RECALL = Panel(label="Recall of the removal", curves={"": "detection.recall"})
PRECISION = Panel(label="Precision of the removal", curves={"": "detection.precision"})
F1 = Panel(label="F1 of the removal", curves={"": "detection.f1"})
TOP = Panel(label="Poisoned among the top {k}", curves={"": "localisation.{k}.accuracy"})
IOU = Panel(label="IoU in the top {k}", curves={"": "localisation.{k}.iou"})
CR = Panel(label="Catch rate in the top {k}", curves={"": "localisation.{k}.cr"})
IOU_OVER_K = Panel(label="IoU", curves={"": "localisation.*.iou"})
CR_OVER_K = Panel(label="Catch rate", curves={"": "localisation.*.cr"})
TIME = Panel(label="Search, whole", curves={"": "seconds.search"}, unit="s")
TIME_PER_IMAGE = Panel(label="Search, per scored image", curves={"": "seconds.search_per_image"}, unit="s")
TIMES = "Times are of the whole search stage: clustering, candidates, poison classifier."

STUDIES = (
    Study(
        name="masking",
        title="Masking strategies",
        figure="Figure 5",
        about="Full-coverage, 0-1 interval and random masks: how well triggers are located, then removed.",
        lines=(
            Line(label="full coverage", defense="poisoncam", settings=('defense.strategy="full"',)),
            Line(label="0-1 interval", defense="poisoncam", settings=('defense.strategy="interval"',)),
            Line(label="random", defense="poisoncam", settings=('defense.strategy="random"',)),
        ),
        # The numbers at which localisation is measured anyway; the classifier is trained anew for each.
        steps=Values(option="defense.top_k", values=(5, 10, 20, 50, 100)),
        x="search number (top k)",
        log=True,
        panels=(IOU_OVER_K, CR_OVER_K, RECALL, PRECISION),
        depth=Depth.SEARCH,
    ),
    Study(
        name="masks",
        title="Number of masks",
        figure="Figure 11",
        about="How many masks per image the search needs, and what they cost.",
        lines=(POISONCAM,),
        steps=Multiples(option="defense.masks", by=(1 / 16, 1 / 8, 1 / 4, 1 / 2, 1, 2), least=2),
        x="masks per image",
        log=True,
        panels=(IOU, CR, F1, TIME_PER_IMAGE),
        depth=Depth.SEARCH,
        note=TIMES,
    ),
    Study(
        name="window",
        title="Window size",
        figure="Figure 12",
        about="The width of masks and candidate triggers.",
        lines=(POISONCAM,),
        # The paper's 40 to 80 px around its 60. The classifier's patches stay as they are, as in the paper.
        steps=Multiples(
            option="defense.window",
            by=(40 / 60, 50 / 60, 1, 70 / 60, 80 / 60),
            least=2,
            hold=("defense.patch_min", "defense.patch_max"),
        ),
        x="window width (px)",
        panels=(IOU, CR, RECALL, PRECISION),
        depth=Depth.SEARCH,
    ),
    Study(
        name="clusters",
        title="Number of clusters",
        figure="Figure 13",
        about="How many clusters k-means makes of the images.",
        lines=(POISONCAM,),
        # The paper's 100 to 2000 around its 1000. What else follows the clusters by rule stays as it is.
        steps=Multiples(
            option="defense.clusters",
            by=(0.1, 0.2, 0.5, 1, 2),
            least=2,
            hold=("defense.flip_set", "defense.top_k"),
        ),
        x="clusters",
        log=True,
        panels=(TOP, IOU, CR, TIME, TIME_PER_IMAGE),
        depth=Depth.SEARCH,
        note="Poisoned among the top k stands for the paper's Acc, whose wording differs between its figures. " + TIMES,
    ),
    Study(
        name="search-number",
        title="Multi-target attacks by search number",
        figure="Figure 4",
        about="IoU and catch rate of the k most suspicious images, with two and three targets at once.",
        lines=tuple(
            Line(label=f"{label}, {count} targets", defense=defense, attack="multi-target", targets=count)
            for count in (2, 3)
            for label, defense in (("PatchSearch", "patchsearch"), ("PoisonCAM", "poisoncam"))
        ),
        x="search number (top k)",
        log=True,
        panels=(IOU_OVER_K, CR_OVER_K),
        depth=Depth.SEARCH,
    ),
    Study(
        name="epochs",
        title="Training epochs and attack strength",
        figure="Table III",
        about="Accuracy, and clean and triggered images taken for the target class, as the threat model trains.",
        lines=(Line(label="", defense="none"),),
        steps=Epochs(shares=tuple(tenth / 10 for tenth in range(1, 11))),
        x="epochs",
        panels=(
            Panel(
                label="Accuracy",
                curves={"clean images": "none.clean.acc", "triggered images": "none.poisoned.acc"},
            ),
            Panel(
                label="Taken for the target class",
                curves={
                    "clean images": "none.clean.false_positives",
                    "triggered images": "none.poisoned.false_positives",
                },
                unit="images",
            ),
        ),
        depth=Depth.THREAT,
        note=(
            "Each row is one training stopped there, not a short training of its own "
            "(the paper's 20 epochs lie within its warm-up)."
        ),
    ),
    Study(
        name="augmentation",
        title="Augmentation, filters, and both",
        figure="Figure 10",
        about="i-CutMix, PatchSearch, PoisonCAM and their combinations, with the new encoder trained.",
        lines=(
            Line(label="no defense", defense="none"),
            Line(label="i-CutMix", defense="icutmix"),
            Line(label="PatchSearch", defense="patchsearch"),
            Line(label="PoisonCAM", defense="poisoncam"),
            Line(label="PatchSearch + i-CutMix", defense="patchsearch+icutmix"),
            Line(label="PoisonCAM + i-CutMix", defense="poisoncam+icutmix"),
        ),
        # The paper's half and whole of the target class. A preset that poisons more than half has one rate.
        steps=Multiples(option="attack.rate", by=(1, 2), least=0, most=1, label="rate {}"),
        across="lines",
        panels=(
            Panel(label="ACC, clean images", curves={"": "defended.clean.acc"}),
            Panel(label="ACC, triggered images", curves={"": "defended.poisoned.acc"}),
            Panel(label="ASR, triggered images", curves={"": "defended.poisoned.asr"}),
        ),
        depth=Depth.RETRAIN,
        note="Rate: the poisoned share of the target class.",
    ),
)


def find(name: str) -> Study:
    """The study of that name. Raises BenchError with the nearest."""
    for study in STUDIES:
        if study.name == name:
            return study
    raise BenchError(f"unknown study {name!r}.{nearest(name, [study.name for study in STUDIES])}")
