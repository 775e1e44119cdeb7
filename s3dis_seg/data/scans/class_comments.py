"""Names and colours of classes in the comments of a PLY file, so that its predictions can be understood anywhere.

    comment class: ground #a0784b = 2

The lines after "class: " are those of a class file. Files with the classes of S3DIS have none.
"""

from dataclasses import replace

from s3dis_seg.classes import S3DIS
from s3dis_seg.data.class_file import classes_of_text, text_of_classes
from s3dis_seg.data.scans.ply import PlyFile
from s3dis_seg.files import InputError

_COMMENT = "comment class: "
_PLAIN = PlyFile(["ply", "format binary_little_endian 1.0", "element vertex 0", "end_header"], {})


def classes_in_header(lines):
    """The classes that the lines of a PLY header name. -> Classes or None, what is wrong with them or \"\""""
    found = [line.removeprefix(_COMMENT) for line in lines if line.startswith(_COMMENT)]
    if not found:
        return None, ""
    try:
        # Lines of a header are read as Latin-1, whatever they hold.
        text = "\n".join(found).encode("latin-1").decode("utf-8")
        return classes_of_text(text, "the classes in its comments"), ""
    except (InputError, UnicodeDecodeError) as error:
        return None, f"its comments name classes that cannot be read, and those of S3DIS are taken ({error})"


def with_classes(source, classes):
    """What a PLY file keeps beside its points, with comments that name other classes than before. -> PlyFile

    source: the PlyFile it is to be like, or None.
    """
    source = source or _PLAIN
    lines = [line for line in source.lines if not line.startswith(_COMMENT)]
    if classes != S3DIS:
        text = text_of_classes(classes).encode("utf-8").decode("latin-1")
        lines[2:2] = [_COMMENT + line for line in text.split("\n")]
    return replace(source, lines=lines)
