#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""decode_peer.py plain|oriented FILE: the pixels of a picture as Pillow reads them, RGBA rows one
after the other behind a line with their size: what the decoders of media are compared with."""
import sys

from PIL import Image, ImageOps

picture = Image.open(sys.argv[2])
if sys.argv[1] == "oriented":
    picture = ImageOps.exif_transpose(picture)
if picture.mode.startswith("I"):  # 16 bits of gray, which Pillow cuts off instead of scaling
    picture = picture.point(lambda value: value / 256).convert("L")
picture = picture.convert("RGBA")
sys.stdout.buffer.write(b"%d %d\n" % picture.size)
sys.stdout.buffer.write(picture.tobytes())
