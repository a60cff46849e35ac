"""What a user can put right: one exception, and which errors of the system count as such."""

import errno
from collections.abc import Iterable


class BadInput(Exception):  # noqa: N818 - it reads as what it is where it is raised
    """Everything wrong with one input, each mistake one sentence that says where and how to fix it.

    Command lines print the mistakes, one a line, and exit with 2; a traceback is never shown for it.
    """

    def __init__(self, mistakes: str | Iterable[str]) -> None:
        self.mistakes: tuple[str, ...] = (mistakes,) if isinstance(mistakes, str) else tuple(mistakes)
        super().__init__("\n".join(self.mistakes))


_UNUSABLE = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT,
    errno.ENOTDIR, errno.EISDIR, errno.EEXIST,
}  # fmt: skip


def unusable_place(error: OSError) -> str | None:
    """The sentence for a file or folder that cannot be used as asked; None for any other error."""
    if error.errno not in _UNUSABLE:
        return None
    place = f"{error.filename}: " if error.filename else ""
    return f"{place}{error.strerror}; give a place that can be written"
