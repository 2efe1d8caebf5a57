package wire

import (
	"bytes"
	"errors"
	"testing"
)

// openEnded are the layouts that end with what is left.
func openEnded() map[string]bool {
	return map[string]bool{
		"plain": true, "envelope": true, "signed": true, "mailbody": true, "linkrecord": true, "packet": true, "padding": true,
	}
}

// TestCut: no beginning of a record is a record, and nothing may follow one.
func TestCut(t *testing.T) {
	open := openEnded()
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
			f.Add(byte(n), c.append(nil, s.x))
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
