"""The archive of a tree, against what a user would type."""
import os

from bench import make_tree, run

MUST_ZSTD, AIM_ZSTD = 0.80, 0.60
MUST_GZIP, AIM_GZIP = 0.15, 0.08


def rows(b):
    ours, zstd = b.program("tests/archive_bench"), b.tool("zstd")
    files, size = (3000, 30_000_000) if b.quick else (30000, 300_000_000)
    tree = b.folder("archive-tree")
    made = make_tree(tree, files, size)
    out = os.path.join(b.place, "archive.out")
    def remove(_):
        if os.path.exists(out):
            os.remove(out)

    def packed(command):
        run(command)
        return os.path.getsize(out)

    theirs = f"tar cf - -C {tree} . | {zstd} -q -T0 -3 > {out}"
    # Uploads are packed at level 1; level 3 is there to compare like with like. What the speed costs is said beside it.
    for level, name in (("fast", "zstd"), ("zstd", "zstd level 3")):
        size_ratio = packed([ours, tree, out, level]) / packed(theirs)
        b.compare(f"archive, {made / 1e6:.0f} MB in {files} files, {name}", [ours, tree, out, level], {
            "tar | zstd -T0 -3": (theirs, MUST_ZSTD, AIM_ZSTD),
            "tar czf": (["tar", "czf", out, "-C", tree, "."], MUST_GZIP, AIM_GZIP),
        }, before=remove, note=f"size {size_ratio:.2f} of theirs")
