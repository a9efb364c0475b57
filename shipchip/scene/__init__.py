"""Windows around positions in a whole scene, as the chips that `decode` reads.

scene.py   a GeoTIFF, or the measurement files of a Sentinel-1 product; a window of it
ground.py  pixels of a scene <-> degrees
land.py    which positions are on land

A window is a GeoTIFF in memory, cut out as by hand. So it is decoded by the rules for files, and
gets the answer of such a file. This needs the extra `geo`, which brings rasterio.
"""

from shipchip.scene.land import Land, open_land
from shipchip.scene.scene import Place, Scene, open_scene, window_size

__all__ = ["Land", "Place", "Scene", "open_land", "open_scene", "window_size"]
