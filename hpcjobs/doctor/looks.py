"""Which checks there are, in the order in which they are made."""

from __future__ import annotations

from hpcjobs.doctor import (
    account,
    environments,
    general,
    models,
    modules,
    personal,
    scheduler,
    scripts,
    storage,
)
from hpcjobs.doctor.check import Look, Subject

GENERAL: tuple[tuple[str, Look], ...] = (
    ("hpcjobs", general.look_at_hpcjobs),
    ("surroundings", general.look_at_surroundings),
    ("workspace", general.look_at_workspace),
    ("records", general.look_at_records),
    (".env", general.look_at_env_file),
    ("keys", personal.look_at_keys),
    ("disk", general.look_at_disk),
)
OF_A_SERVICE: tuple[tuple[str, Look], ...] = (
    ("service", scheduler.look_at_service),
    (".env values", personal.look_at_values),
    ("scripts", scripts.look_at_scripts),
    ("commands", scheduler.look_at_commands),
    ("scheduler", scheduler.look_at_controller),
    ("group", account.look_at_group),
    ("points", account.look_at_points),
    ("shared disk", storage.look_at_place),
    ("paths", storage.look_at_paths),
    ("quotas", storage.look_at_quotas),
    ("modules", modules.look_at_modules),
    ("environments", environments.look_at_environments),
)
OF_MODELS: tuple[tuple[str, Look], ...] = (("models", models.look_at_models),)


def looks(subject: Subject) -> tuple[tuple[str, Look], ...]:
    """Those that make sense for what was named."""
    chosen = GENERAL
    if subject.service is not None:
        chosen += OF_A_SERVICE
    if subject.models:
        chosen += OF_MODELS
    return chosen
