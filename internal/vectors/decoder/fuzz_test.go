package decoder

import (
	"bytes"
	"maps"
	"path/filepath"
	"slices"
	"testing"
)

// FuzzRecording puts other bytes in the place of a datagram: nothing panics, and
// where every bit is under a key they are refused.
func FuzzRecording(f *testing.F) {
	rec := recording(f)
	for i, g := range rec.Datagrams {
		if i%9 == 0 || g.Bytes[0] == 0xCC { // a few of each kind: each run of a seed reads the whole recording
			f.Add(uint16(i), []byte(g.Bytes))
		}
	}
	f.Fuzz(func(t *testing.T, i uint16, b []byte) {
		at := int(i) % len(rec.Datagrams)
		changed := *rec
		changed.Datagrams = append([]RecordedDatagram(nil), rec.Datagrams...)
		changed.Datagrams[at].Bytes = b
		old := rec.Datagrams[at].Bytes
		_, err := Decode(&changed)
		if err == nil && authentic(old[0]) && !bytes.Equal(b, old) && !bytes.HasPrefix(b, []byte("d")) {
			// A copy of another datagram may stand in the place of one that nothing rests on.
			for _, g := range rec.Datagrams {
				if bytes.Equal(b, g.Bytes) {
					return
				}
			}
			t.Errorf("datagram %d is taken as %x", at, b)
		}
	})
}

// FuzzPlain reads any bytes as each layout, and as what is inside of seals.
func FuzzPlain(f *testing.F) {
	for _, dir := range []string{"records", "frames"} {
		files, err := filepath.Glob(filepath.Join(vectorsDir, dir, "*.json"))
		if err != nil || len(files) == 0 {
			f.Fatalf("no vectors in %s: %v", dir, err)
		}
		for _, file := range files {
			var v struct{ Cases []struct{ Bytes Hex } }
			readJSON(f, file, &v)
			for _, c := range v.Cases {
				f.Add([]byte(c.Bytes))
			}
		}
	}
	for _, g := range recording(f).Datagrams {
		switch {
		case g.Bytes[0] <= 3 || g.Bytes[0] == 'd':
			f.Add([]byte(g.Bytes))
		case g.Bytes[0] == 0xCC:
			f.Add([]byte(g.Bytes[9:]))
		}
	}
	f.Add([]byte{2, 0, 0, 0, 3, 0, 0, 0, 2, 2, 1, 0, 3, 0, 0, 0, 'x', 2, 4, 8, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0})
	named := recordLayouts()
	maps.Copy(named, frameLayouts())
	layouts := make([]layout, 0, len(named))
	for _, name := range slices.Sorted(maps.Keys(named)) {
		layouts = append(layouts, named[name])
	}
	f.Fuzz(func(_ *testing.T, b []byte) {
		for _, decode := range layouts {
			_, _ = decode(b)
		}
		if c, err := whole(b, readCheck); err == nil {
			_ = c.verify("password")
		}
		_, _ = whole(b, readKRPC)
		for side := range 2 {
			_ = (&Handshake{}).Datagram(side, b)
			frames, err := readSmux(b, side == 1)
			if err == nil {
				_, _ = readStreams([2][]smuxFrame{frames, frames}, byte(side))
			}
		}
		l := NewLink(nil, &Schedule{Suite: suiteAES, Master: make([]byte, 32)})
		frames, err := whole(b, readPacket)
		if err == nil {
			for from, e := range l.Ends {
				e.token = make(Hex, 16)
				l.Ends[1-from].answers = []Hex{e.token}
			}
			for i, frame := range frames {
				_ = l.frame(byte(i&1), frame)
			}
		}
	})
}
