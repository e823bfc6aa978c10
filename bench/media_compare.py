#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""media_compare.py --build FOLDER [--data FOLDER] [FILE…]: dacm adapt beside gltfpack and glTF
Transform, one run after the other on the same files, at the same setting: a quarter of the
triangles, textures of 256 px in WebP, numbers rounded, EXT_meshopt_compression. Size, triangles,
processor time, peak memory, and what was lost. npm ci in bench/peers/media first."""
import argparse
import json
import os
import pathlib
import struct
import subprocess
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
PEERS = HERE / "peers" / "media" / "node_modules" / ".bin"
FILES = ("kaykit-knight.glb", "mannequiny.glb", "valid-white-m-1-casual.glb",
         "vrm1-valid-white-m-1.vrm")
SIZE, RATIO = 256, 0.25


def document(path):
    data = path.read_bytes()
    if data[:4] != b"glTF":
        return json.loads(data)
    return json.loads(data[20:20 + struct.unpack_from("<I", data, 12)[0]])


def what_is_in(path):
    doc = document(path)
    meshes, accessors = doc.get("meshes", []), doc.get("accessors", [])
    nodes = doc.get("nodes", [])
    triangles = 0
    for mesh in meshes:
        for primitive in mesh["primitives"]:
            corners = primitive.get("indices", primitive["attributes"].get("POSITION"))
            triangles += accessors[corners]["count"] // 3
    joints = {nodes[joint].get("name") for skin in doc.get("skins", ()) for joint in skin["joints"]}
    morphs = {name for mesh in meshes
              for name in mesh.get("extras", {}).get("targetNames", ())}
    return {"triangles": triangles, "joints": joints, "morphs": morphs,
            "targets": max((len(primitive.get("targets", ())) for mesh in meshes
                            for primitive in mesh["primitives"]), default=0),
            "animations": sorted(a.get("name", "") for a in doc.get("animations", ())),
            "vrm": sorted(name for name in doc.get("extensions", {}) if name.startswith("VRM")),
            "mtoon": sum("VRMC_materials_mtoon" in material.get("extensions", {})
                         for material in doc.get("materials", ()))}


def lost(before, after):
    told = []
    if before["joints"] - after["joints"]:
        told.append(f"{len(before['joints'] - after['joints'])} of {len(before['joints'])} joints")
    if after["targets"] < before["targets"]:
        told.append(f"{before['targets'] - after['targets']} of {before['targets']} morph targets")
    elif before["morphs"] - after["morphs"]:
        told.append(f"names of {len(before['morphs'] - after['morphs'])} morph targets")
    missing = len(set(before["animations"]) - set(after["animations"]))
    if missing:
        told.append(f"{missing} of {len(before['animations'])} animations")
    told += [name for name in before["vrm"] if name not in after["vrm"]]
    if after["mtoon"] < before["mtoon"]:
        told.append("MToon")
    return told


def commands(tool, build, source, target, folder):
    if tool == "dacm":
        return [[build / "bin" / "dacm", "adapt", source, "-o", target, "--preset", "low",
                 "--mesh-compression", "meshopt", "--texture-format", "webp",
                 "--quantization", "standard"]]
    if tool == "gltfpack":
        return [[PEERS / "gltfpack", "-i", source, "-o", target, "-c", "-kn", "-km", "-ke",
                 "-si", str(RATIO), "-tw", "-tl", str(SIZE)]]
    step = [folder / f"step-{i}.glb" for i in range(4)]
    run = [PEERS / "gltf-transform"]
    return [run + ["resize", source, step[0], "--width", str(SIZE), "--height", str(SIZE)],
            run + ["webp", step[0], step[1]],
            run + ["weld", step[1], step[2]],
            run + ["simplify", step[2], step[3], "--ratio", str(RATIO), "--error", "1"],
            run + ["meshopt", step[3], target]]


def measure(steps):
    """(seconds of processor time, peak memory in MiB); what a step prints is shown if it fails."""
    seconds, peak = 0.0, 0
    for step in steps:
        with tempfile.TemporaryFile() as told:
            child = subprocess.Popen([str(part) for part in step], stdout=told, stderr=told)
            _, status, used = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
            if child.returncode != 0:
                told.seek(0)
                raise RuntimeError(told.read().decode(errors="replace")[-400:].strip())
        seconds += used.ru_utime + used.ru_stime
        peak = max(peak, used.ru_maxrss / 1024)
    return seconds, peak


def main():
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--data", type=pathlib.Path, default=pathlib.Path(
        os.environ.get("DACM_TEST_DATA", HERE.parent.parent / "shared" / "data")))
    parser.add_argument("files", nargs="*", default=FILES)
    options = parser.parse_args()
    assert PEERS.is_dir(), "npm ci in bench/peers/media first"
    print("| file | tool | bytes | triangles | CPU s | MiB | lost |\n|---|---|---|---|---|---|---|")
    for name in options.files:
        source = options.data / "avatars" / name
        before = what_is_in(source)
        print(f"| {name} | source | {source.stat().st_size:,} | {before['triangles']:,} | | | |")
        for tool in ("dacm", "gltfpack", "gltf-transform"):
            with tempfile.TemporaryDirectory(prefix="dacm-bench-") as folder:
                folder = pathlib.Path(folder)
                given = folder / "source.glb"  # the others know files by their ending
                given.write_bytes(source.read_bytes())
                target = folder / "target.glb"
                try:
                    seconds, peak = measure(
                        commands(tool, options.build.resolve(), given, target, folder))
                except RuntimeError as failure:
                    print(f"| | {tool} | refused: {str(failure).splitlines()[-1][:90]} | | | | |")
                    continue
                after = what_is_in(target)
                print(f"| | {tool} | {target.stat().st_size:,} | {after['triangles']:,} | "
                      f"{seconds:.2f} | {peak:.0f} | {', '.join(lost(before, after)) or 'nothing'} |",
                      flush=True)


if __name__ == "__main__":
    main()
