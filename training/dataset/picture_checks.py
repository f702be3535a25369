"""What is wrong with single pictures: size, shape, file, bars, sharpness.

Pure: measurements in, findings out.
"""

from collections.abc import Iterator, Sequence
from statistics import median

from training.buckets import choose
from training.dataset.finding import Finding, Severity
from training.dataset.measurement import Measurement
from training.recipe import Recipe

ENLARGED = 1.1  # less cannot be seen
EXTREME = 3.0  # longer side by shorter; buckets go to 4, few pictures share one (reference: kohya)
TOO_SMALL = 0.5  # of the smallest resolution: such a picture is mostly invented pixels
BAR = 0.04  # of a side: less is a thin frame that the crop to the bucket takes away
BLURRED = 0.15
"""Of the set's median sharpness. Own choice: of sharp photographs of very different subjects few
are below a quarter of their median; out of focus, a tenth is usual."""
COMPARABLE = 5  # pictures that a median needs
_DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")


def check(measured: Sequence[Measurement], recipe: Recipe) -> Iterator[Finding]:
    """Check each picture."""
    for one in measured:
        yield from too_small(one, recipe)
        yield from extreme_shape(one)
        yield from barred(one)
        yield from told_by_file(one)
    yield from blurred(measured)


def too_small(one: Measurement, recipe: Recipe) -> Iterator[Finding]:
    """Find a picture that has fewer pixels than its bucket."""
    width, height = one.look.width, one.look.height
    size = f"it is {width}x{height}"
    fix = "Take a larger original, or leave it out"
    if min(width, height) < min(recipe.resolution) * TOO_SMALL:
        least = round(min(recipe.resolution) * TOO_SMALL)
        text = f"{size}: no side may be below {least} pixels"
        yield Finding(Severity.ERROR, "too-small", (one.file,), text, fix)
        return
    for resolution in recipe.resolution:
        bucket = choose(width, height, resolution, recipe.bucket_step)
        if max(bucket.width / width, bucket.height / height) > ENLARGED:
            text = f"{size} and has to be enlarged to {bucket}, which blurs it"
            yield Finding(Severity.WARNING, "enlarged", (one.file,), text, fix)
            return


def extreme_shape(one: Measurement) -> Iterator[Finding]:
    """Find a very long picture."""
    sides = (one.look.width, one.look.height)
    if max(sides) > EXTREME * min(sides):
        ratio = max(sides) / min(sides)
        text = f"it is {ratio:.1f} times as long as wide"
        fix = "Crop it to what matters"
        yield Finding(Severity.WARNING, "extreme-shape", (one.file,), text, fix)


def barred(one: Measurement) -> Iterator[Finding]:
    """Find bars around a picture; a LoRA learns to draw them."""
    shares = {
        "above and below": one.borders.across,
        "left and right": one.borders.along,
    }
    found = [f"{where} ({share:.0%})" for where, share in shares.items() if share > BAR]
    if found:
        text = f"there are bars {' and '.join(found)}, which the LoRA would learn"
        yield Finding(Severity.WARNING, "bars", (one.file,), text, "Crop them away")


def told_by_file(one: Measurement) -> Iterator[Finding]:
    """Say what reading a picture has to change."""
    look = one.look
    files = (one.file,)
    if look.animated:
        text = f"it is animated ({look.format}); only its first frame is trained"
        fix = "Save the frame that you mean as a picture"
        yield Finding(Severity.WARNING, "animated", files, text, fix)
    changes = {
        "turned upright, as its EXIF data say": look.turned,
        "put on white where it is transparent": look.transparent,
        "brought to RGB from CMYK": look.mode == "CMYK",
        "brought to 8 bits": look.mode in _DEEP,
        f"brought to sRGB from {look.profile}": bool(look.profile),
    }
    told = [text for text, so in changes.items() if so]
    if told:
        yield Finding(Severity.NOTE, "changed", files, f"it is {', '.join(told)}")


def blurred(measured: Sequence[Measurement]) -> Iterator[Finding]:
    """Find pictures far less sharp than the others."""
    if len(measured) < COMPARABLE:
        return
    middle = median(one.sharpness for one in measured)
    for one in measured:
        if one.sharpness < BLURRED * middle:
            text = f"it is blurred or very flat: {one.sharpness / middle:.0%} of the usual detail"
            fix = "Look at it at full size; leave it out if it is out of focus"
            yield Finding(Severity.WARNING, "blurred", (one.file,), text, fix)
