"""What does the damage is right itself."""

from __future__ import annotations

import random

from tests.soak.damage import damaged


def test_damage_changes_no_size() -> None:
    chance = random.Random(1)
    original = chance.randbytes(200)
    for _ in range(2000):  # the ends of parts, and what is copied from there
        changed = damaged(original, chance, [range(200), range(150, 200)])
        assert len(changed) == len(original)
