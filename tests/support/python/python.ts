/** Debian's Python, which has Debian's packages. Another may come first on the PATH. */
export const PYTHON = "/usr/bin/python3";

/** The packages that the scripts beside this file import. */
export const PYTHON_PACKAGES = ["websockets", "aiohttp", "httpx"];
