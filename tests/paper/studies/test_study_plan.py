"""Which runs a study consists of."""

from __future__ import annotations

import pytest

from bench.errors import BenchError
from bench.paper.studies.catalogue import IOU, STUDIES, find
from bench.paper.studies.steps import Multiples, Values
from bench.paper.studies.study import Depth, Line, Panel, Study

POISONCAM = Line(label="PoisonCAM", defense="poisoncam")


def study(**changes):
    given = {
        "name": "toy",
        "title": "Toy",
        "figure": "Figure 0",
        "about": "A toy.",
        "lines": (POISONCAM,),
        "panels": (IOU,),
        "depth": Depth.SEARCH,
    }
    return Study(**{**given, **changes})


@pytest.mark.parametrize("name", [each.name for each in STUDIES])
def test_every_study_has_a_plan(name, planner):
    plan = planner().plan(find(name))
    run = [cell for cell in plan.cells if cell.pipeline]
    assert run
    assert all("is not installed" in cell.skipped for cell in plan.cells if not cell.pipeline and not cell.step.x)
    assert len({(cell.line.label, cell.step.x, cell.seed) for cell in plan.cells}) == len(plan.cells)


def test_names_are_told_apart_and_a_wrong_one_is_mended():
    assert len({each.name for each in STUDIES}) == len(STUDIES)
    with pytest.raises(BenchError, match=r"unknown study 'windw'\. Did you mean 'window'\?"):
        find("windw")


def test_cells_share_the_threat_model_and_the_presets_own_search(planner, workshop):
    plan = planner().plan(find("masks"))
    own = workshop.pipeline()
    assert [cell.step.x for cell in plan.cells] == [2, 4, 8, 16, 32]
    assert {cell.pipeline.threat.key for cell in plan.cells} == {own.threat.key}
    searches = {cell.step.x: cell.pipeline.clean.key for cell in plan.cells}
    assert len(set(searches.values())) == 5
    assert searches[16] == own.clean.key


def test_each_seed_has_all_cells_and_a_threat_model_of_its_own(planner):
    plan = planner(seeds=(1, 4)).plan(find("masks"))
    assert [cell.seed for cell in plan.cells] == [1] * 5 + [4] * 5
    assert len({cell.pipeline.threat.key for cell in plan.cells}) == 2
    assert plan.cells[5].title == "PoisonCAM, 2, seed 4"


def test_a_defense_that_is_not_installed_is_skipped(planner):
    plan = planner(seeds=(0, 1)).plan(study(lines=(Line(label="Else", defense="nosuch+icutmix"), POISONCAM)))
    assert [(cell.line.label, cell.seed, cell.skipped, bool(cell.pipeline)) for cell in plan.cells] == [
        ("Else", 0, "defense 'nosuch' is not installed", False),
        ("PoisonCAM", 0, "", True),
        ("Else", 1, "defense 'nosuch' is not installed", False),
        ("PoisonCAM", 1, "", True),
    ]
    with pytest.raises(BenchError, match="nothing of study 'toy' can be run: attack 'nix' is not installed"):
        planner().plan(study(lines=(Line(label="", defense="none", attack="nix"),)))


def test_a_value_that_does_not_fit_is_skipped(planner):
    """160 images: top_k goes up to 80."""
    plan = planner().plan(study(steps=Values(option="defense.top_k", values=(5, 90))))
    assert plan.cells[0].pipeline
    assert plan.cells[1].pipeline is None
    assert plan.cells[1].skipped.startswith("top_k=90 does not fit 160 images")


def test_settings_go_to_the_defenses_that_have_them(planner):
    lines = (POISONCAM, Line(label="", defense="none"))
    plan = planner(settings=("defense.masks=8", "train.epochs=1")).plan(study(lines=lines))
    assert plan.cells[0].pipeline.config.defense.filter.masks == 8
    assert [cell.pipeline.config.train.epochs for cell in plan.cells] == [1, 1]
    with pytest.raises(BenchError, match=r"no defense of study 'toy' \('poisoncam' or 'none'\) has this option"):
        planner(settings=("defense.mask=8",)).plan(study(lines=lines))
    with pytest.raises(BenchError, match=r"unknown section 'trian'\. Did you mean 'train'\?"):
        planner(settings=("trian.epochs=8",)).plan(study(lines=lines))


def test_multiples_start_from_what_the_user_set(planner):
    plan = planner(settings=("defense.masks=20",)).plan(
        study(steps=Multiples(option="defense.masks", by=(0.5, 1), least=2))
    )
    assert [cell.pipeline.config.defense.filter.masks for cell in plan.cells] == [10, 20]


def test_the_number_of_targets(planner, workshop):
    """The preset has the classes 0 and 3 with the mosaics 3 and 5; the third is the last class that is free."""
    lines = tuple(Line(label=str(n), defense="poisoncam", attack="multi-target", targets=n) for n in (2, 3))
    two, three = (cell.pipeline.config.attack for cell in planner().plan(study(lines=lines)).cells)
    assert two == workshop.pipeline(attack="multi-target").config.attack
    assert (three.target_classes, three.trigger_seeds) == ((0, 3, 2), (3, 5, 0))
    fewer = planner(settings=("attack.target_classes=[3, 2, 1]", "attack.trigger_seeds=[7, 8, 9]"))
    assert fewer.plan(study(lines=lines[:1])).cells[0].pipeline.config.attack.target_classes == (3, 2)


def test_the_papers_third_target_where_it_is_a_class(planner, scenes):
    import dataclasses

    made = planner()
    made._dataset = dataclasses.replace(scenes, classes=("a", "ambulance", "b", "c"))
    plan = made.plan(study(lines=(Line(label="", defense="poisoncam", attack="multi-target", targets=3),)))
    assert plan.cells[0].pipeline.config.attack.target_classes == (0, 3, 1)


def test_the_panels_look_at_as_many_top_images_as_the_classifier(planner):
    plan = planner().plan(study(panels=(IOU, Panel(label="IoU", curves={"": "localisation.*.iou"}))))
    assert plan.k == 5
    assert [panel.axis for panel in plan.panels] == ["IoU in the top 5 (%)", "IoU (%)"]
    assert [dict(panel.curves) for panel in plan.panels] == [
        {"": "localisation.5.iou"},
        {"": "localisation.*.iou"},
    ]
    assert planner(settings=("defense.top_k=33",)).plan(study()).k == 20
