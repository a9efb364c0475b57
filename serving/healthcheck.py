"""Is the service ready? python -m serving.healthcheck

The container's health command: there is no curl in the image. It asks /readyz on this machine, at
the port in BENTOML_PORT (which `bentoml serve` reads, too) or 3000. Exit status 0: ready; 1: one
line on standard error says what was found.
"""

import http.client
import os
import sys

_SECONDS = 4  # less than the image's HEALTHCHECK waits for this command


def main() -> int:
    """The command line; returns the exit status."""
    port = os.environ.get("BENTOML_PORT", "3000")
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        return _not_ready(f"BENTOML_PORT is {port!r}; expected a port, 1 to 65535")
    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=_SECONDS)
    try:
        connection.request("GET", "/readyz")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return _not_ready(f"no answer on port {port}: {error}")
    finally:
        connection.close()
    return 0 if status == 200 else _not_ready(f"/readyz on port {port} answers {status}")


def _not_ready(found: str) -> int:
    sys.stderr.write(f"shipchip: not ready: {' '.join(found.split())}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
