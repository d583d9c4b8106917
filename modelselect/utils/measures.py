"""`Measure`: what texts call the quality of a fine-tuned candidate, and how they show it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """What texts call a quality, and how they show it.

    Attributes:
        title: such as `accuracy`.
        in_percent: whether it is a share, which texts show in per cent.
    """

    title: str = "accuracy"
    in_percent: bool = True

    @property
    def heading(self) -> str:
        """The title with a capital letter."""
        return self.title[:1].upper() + self.title[1:]

    def text(self, value: float, digits: int = 1) -> str:
        """A value: a share with this many digits after the point, another number with two more.

        >>> Measure().text(0.8764), Measure("R²", in_percent=False).text(0.8764)
        ('87.6%', '0.876')
        """
        return f"{value:.{digits}%}" if self.in_percent else f"{value:.{digits + 2}f}"

    def difference(self, value: float, digits: int = 1) -> str:
        """The distance of two values.

        >>> Measure().difference(0.021), Measure("R²", in_percent=False).difference(0.021)
        ('2.1 points', '0.021')
        """
        return f"{100 * value:.{digits}f} points" if self.in_percent else f"{value:.{digits + 2}f}"


ACCURACY = Measure()
