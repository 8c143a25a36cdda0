#!/usr/bin/env bash
# testbrowser.sh [ARG...]: Chromium for the tests of the dashboard, the host's or an unpacked one, in the form in which
# chromedriver starts a browser: as one program.
exec "$(dirname "$0")/testtool.sh" chromium "$@"
