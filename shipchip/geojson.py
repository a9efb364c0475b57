"""GeoJSON is in degrees of WGS 84 (RFC 7946); older files could name another system."""

from typing import Any

_WGS84 = ("urn:ogc:def:crs:OGC:1.3:CRS84", "urn:ogc:def:crs:EPSG::4326", "EPSG:4326")


def check_system(content: Any) -> None:
    """ValueError if a GeoJSON object says that it is not in degrees of WGS 84."""
    system = content.get("crs") if isinstance(content, dict) else None
    if system is None:
        return
    properties = system.get("properties") if isinstance(system, dict) else None
    name = properties.get("name") if isinstance(properties, dict) else None
    if name not in _WGS84:
        raise ValueError(
            f"it is in {str(name or system)[:80]}; GeoJSON is in degrees of WGS 84 (ogr2ogr -t_srs "
            "EPSG:4326)"
        )
