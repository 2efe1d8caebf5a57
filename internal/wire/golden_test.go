package wire

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the golden bytes in testdata")

// TestGolden holds every sample against its bytes in testdata, both ways.
func TestGolden(t *testing.T) {
	known := map[string]bool{}
	for _, c := range codecs() {
		if len(c.samples) == 0 {
			t.Errorf("%s has no samples", c.name)
		}
		for _, s := range c.samples {
			name := c.name + "_" + s.name
			known[goldenFile(name)] = true
			t.Run(name, func(t *testing.T) {
				got := c.append(nil, s.x)
				if *rewrite {
					writeGolden(t, name, s.x, got)
				}
				want := readGolden(t, name)
				if !bytes.Equal(got, want) {
					t.Errorf("encodes to\n%x, want\n%x", got, want)
				}
				x, err := c.parse(want)
				if err != nil {
					t.Fatal(err)
				}
				if !reflect.DeepEqual(x, s.x) {
					t.Errorf("decodes to\n%+v, want\n%+v", x, s.x)
				}
				if after := c.append([]byte("dst"), s.x); string(after[:3]) != "dst" || !bytes.Equal(after[3:], want) {
					t.Error("does not append")
				}
			})
		}
	}
	files, err := filepath.Glob(goldenFile("*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !known[file] {
			t.Errorf("%s belongs to no sample", file)
		}
	}
}

func goldenFile(name string) string { return filepath.Join("testdata", name+".hex") }

// readGolden reads a file of hexadecimal lines; those that begin with # say
// what the bytes stand for.
func readGolden(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(goldenFile(name))
	if err != nil {
		t.Fatal(err)
	}
	var digits strings.Builder
	for line := range strings.Lines(string(b)) {
		if !strings.HasPrefix(line, "#") {
			digits.WriteString(strings.TrimSpace(line))
		}
	}
	out, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatalf("%s: %v", goldenFile(name), err)
	}
	return out
}

func writeGolden(t *testing.T, name string, x any, b []byte) {
	t.Helper()
	var file strings.Builder
	value, err := json.MarshalIndent(x, "# ", "  ")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&file, "# %s, %d bytes\n", name, len(b))
	if string(value) != "{}" {
		fmt.Fprintf(&file, "# %s\n", value)
	}
	for len(b) > 0 {
		n := min(len(b), 32)
		fmt.Fprintf(&file, "%x\n", b[:n])
		b = b[n:]
	}
	if err := os.WriteFile(goldenFile(name), []byte(file.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestCut: no beginning of a record is a record, and nothing may follow one.
func TestCut(t *testing.T) {
	open := map[string]bool{ // end with what is left
		"plain": true, "envelope": true, "signed": true, "mailbody": true, "linkrecord": true, "packet": true, "padding": true,
	}
	for _, c := range codecs() {
		for _, s := range c.samples {
			b := c.append(nil, s.x)
			if open[c.name] {
				continue
			}
			for n := range b {
				if _, err := c.parse(b[:n]); !errors.Is(err, ErrShort) {
					t.Fatalf("%s %s cut to %d of %d bytes: got %v, want ErrShort", c.name, s.name, n, len(b), err)
				}
			}
			if _, err := c.parse(append(b, 0)); !errors.Is(err, ErrTrailing) {
				t.Errorf("%s %s and a byte more: got %v, want ErrTrailing", c.name, s.name, err)
			}
		}
	}
}

// TestLaterFormat: a record of another format is told from a bad one.
func TestLaterFormat(t *testing.T) {
	var records int
	for _, c := range codecs() {
		if !c.record {
			continue
		}
		records++
		for _, s := range c.samples {
			for _, f := range []byte{0, Format + 1, 255} {
				b := c.append(nil, s.x)
				b[0] = f
				if _, err := c.parse(b); !errors.Is(err, ErrFormat) {
					t.Errorf("%s %s of format %d: got %v, want ErrFormat", c.name, s.name, f, err)
				}
			}
		}
	}
	if records != 6 {
		t.Errorf("%d records, want 6", records)
	}
}

// TestFlips changes each bit of each sample: what still decodes must encode
// to the very same bytes, and what does not must fail for one reason.
func TestFlips(t *testing.T) {
	fixed := map[string]bool{"ping": true, "padding": true} // no bit can be another
	for _, c := range codecs() {
		var decoded, refused int
		for _, s := range c.samples {
			b := c.append(nil, s.x)
			for n := range 8 * len(b) {
				bad := bytes.Clone(b)
				bad[n/8] ^= 1 << (n % 8)
				if checkCanonical(t, c, bad) {
					decoded++
				} else {
					refused++
				}
			}
		}
		if (decoded == 0) != fixed[c.name] {
			t.Errorf("%s: %d decoded", c.name, decoded)
		}
		if c.record && refused == 0 {
			t.Errorf("%s: nothing refused", c.name)
		}
	}
}

// FuzzRecord gives any bytes to the codec that the first one chooses.
func FuzzRecord(f *testing.F) {
	list := codecs()
	for n, c := range list {
		for _, s := range c.samples {
			f.Add(byte(n), readGolden(f, c.name+"_"+s.name))
		}
	}
	f.Fuzz(func(t *testing.T, kind byte, b []byte) {
		checkCanonical(t, list[int(kind)%len(list)], b)
	})
}

// checkCanonical reports whether b decodes, and fails if it then encodes to
// other bytes, or fails for none or several of the reasons that there are.
func checkCanonical(t *testing.T, c codec, b []byte) bool {
	t.Helper()
	x, err := c.parse(b)
	if err == nil {
		if got := c.append(nil, x); !bytes.Equal(got, b) {
			t.Errorf("%s: decoded from\n%x, encodes to\n%x", c.name, b, got)
		}
		return true
	}
	var reasons int
	for _, reason := range []error{ErrShort, ErrTrailing, ErrFormat, ErrKind, ErrValue} {
		if errors.Is(err, reason) {
			reasons++
		}
	}
	if reasons != 1 {
		t.Errorf("%s: error %q matches %d reasons", c.name, err, reasons)
	}
	return false
}
