"""What setup.cfg cannot say: the folder `checkpoints` is installed as part of the package, with the weights in it."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["s3dis_seg*"]), "s3dis_seg.checkpoints"],
    package_dir={"s3dis_seg.checkpoints": "checkpoints"},
    package_data={
        "s3dis_seg": ["py.typed"],
        "s3dis_seg.checkpoints": ["*.pt", "README.md"],
        "s3dis_seg.report": ["page.html", "page.css", "page.js"],
    },
)
