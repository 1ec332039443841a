"""A stand-in for OpenBao, of which no binary can be had everywhere: it says that it is one, and is a Vault."""

from __future__ import annotations

import io
import os
import shutil
import struct
import subprocess
import tarfile
from pathlib import Path
from typing import Final

from harness.clients import engine_things
from harness.clients.container_engine import Engine
from harness.wait import now
from tests.test_brought import place_of

VERSION: Final = "2.6.2"
NAME: Final = "rehearse.test/bao:ours"
SOURCE: Final = """\
package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"unsafe"
)

// Says that it is OpenBao, and is the Vault that stands behind it in its own file.
func main() {
	if len(os.Args) > 1 && os.Args[1] == "version" {
		fmt.Println("OpenBao v2.6.2 (0123abc), committed 2026-08-18")
		return
	}
	for number, word := range os.Args {
		if file, found := strings.CutPrefix(word, "-config="); found {
			told, err := os.ReadFile(file)
			check(err)
			// of the two, Vault alone locks its memory
			told = []byte(strings.Replace(string(told), "{", "{\\"disable_mlock\\": true,", 1))
			check(os.WriteFile("/tmp/told.json", told, 0o600))
			os.Args[number] = "-config=/tmp/told.json"
		}
	}
	self, err := os.Open("/proc/self/exe")
	check(err)
	end, err := self.Seek(-8, io.SeekEnd)
	check(err)
	var size int64
	check(binary.Read(self, binary.LittleEndian, &size))
	_, err = self.Seek(end-size, io.SeekStart)
	check(err)
	name := []byte("bao\\x00")
	number, _, failed := syscall.Syscall(319, uintptr(unsafe.Pointer(&name[0])), 0, 0) // memfd_create
	if failed != 0 {
		check(failed)
	}
	_, err = io.CopyN(os.NewFile(number, "bao"), self, size)
	check(err)
	check(syscall.Exec(fmt.Sprintf("/proc/self/fd/%d", number), os.Args, os.Environ()))
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
"""
DOCKERFILE: Final = """\
FROM scratch
COPY bao /usr/bin/bao
ENV PATH=/usr/bin
USER 100:1000
ENTRYPOINT ["/nothing"]
"""


def program(place: Path) -> Path:
    """Return it, as one file in the folder *place*."""
    (place / "main.go").write_text(SOURCE)
    (place / "go.mod").write_text("module bao\n\ngo 1.22\n")
    quiet = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off", "GOARCH": "amd64"}
    subprocess.run(["go", "build", "-o", "bao", "."], cwd=place, env=quiet, check=True, timeout=120)
    vault = place_of("1.11.0")
    with (place / "bao").open("ab") as whole:
        with vault.open("rb") as behind:
            shutil.copyfileobj(behind, whole)
        whole.write(struct.pack("<q", vault.stat().st_size))
    return place / "bao"


def image(engine: Engine, bao: Path) -> str:
    """Return the name of an image that has it where OpenBao's own have it, with a user of its own."""
    with io.BytesIO() as file:
        with tarfile.open(fileobj=file, mode="w") as archive:
            entry = tarfile.TarInfo("Dockerfile")
            entry.size = len(DOCKERFILE)
            archive.addfile(entry, io.BytesIO(DOCKERFILE.encode()))
            archive.add(bao, "bao")
        file.seek(0)
        engine.build_from(file, NAME, engine_things.labels("trial", now() + 600))
    return NAME
