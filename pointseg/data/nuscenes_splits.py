"""The official splits of nuScenes, as numbers of scenes; source: nuscenes-devkit, utils/splits.py.

The release has the tables of train and val in one folder, those of test and mini in others. The
scenes of mini are also among those of train and val.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Split:
    """``scenes``: names in the official order; ``versions``: folders of tables that have them all,
    the one to prefer first.
    """

    scenes: tuple[str, ...]
    versions: tuple[str, ...]


def _split(ranges: str, *versions: str) -> Split:
    numbers: list[int] = []
    for part in ranges.split():
        first, _, last = part.partition("-")
        numbers.extend(range(int(first), int(last or first) + 1))
    return Split(tuple(f"scene-{number:04d}" for number in numbers), versions)


SPLITS: Final[dict[str, Split]] = {
    "train": _split(
        "1-2 4-11 19-34 41-76 120-135 138-139 149-152 154-155 157-168 170-185 187-188 190-196 "
        "199-200 202-204 206-214 218-220 222 224-264 283-306 315-318 321 323-324 328 347-386 "
        "388-403 405-408 410-459 461-465 467-469 471-472 474-480 499-502 504-515 517-518 525-539 "
        "541-546 566 568 570-578 580 582-600 639-679 681 683-689 695-698 700-701 703-719 726-728 "
        "730-731 733-741 744 746-747 749-752 757-765 767-769 786-787 789-792 803-806 808-813 "
        "815-817 819-822 847-856 858 860-866 868-873 875-878 880 882-903 945 947 949 952-953 "
        "955-961 975-984 988-992 994-1025 1044-1058 1074-1102 1104-1110",
        "v1.0-trainval",
    ),
    "val": _split(
        "3 12-18 35-36 38-39 92-110 221 268-278 329-332 344-346 519-524 552-565 625-627 629-630 "
        "632-638 770-771 775 777-778 780-784 794-800 802 904-917 919-931 962-963 966-969 971-972 "
        "1059-1073",
        "v1.0-trainval",
    ),
    "test": _split(
        "77-91 111-119 140 142-148 265-266 279-282 307-314 333-343 481-498 547-551 601-604 606-624 "
        "827-831 833-842 844-846 932-933 935-943 1026-1043",
        "v1.0-test",
    ),
    "mini_train": _split("61 553 655 757 796 1077 1094 1100", "v1.0-mini", "v1.0-trainval"),
    "mini_val": _split("103 916", "v1.0-mini", "v1.0-trainval"),
}
"""By name: 700, 150 and 150 scenes, and 8 and 2 of the small release."""
