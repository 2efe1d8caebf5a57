package carrier

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/wire"
)

// A text of a later version, or one that asks for too much, is told apart from
// one that is damaged, before any work is done for it.
func TestIdentityTextToCome(t *testing.T) {
	golden, err := os.ReadFile(filepath.Join("testdata", "identity1.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		at   int
		to   []byte
		want error
	}{
		{"version 2", 0, []byte{2}, ErrNewer},
		{"4 TiB of memory", 5, []byte{255, 255, 255, 255}, ErrWrongIdentity},
		{"2³² passes", 1, []byte{255, 255, 255, 255}, ErrWrongIdentity},
	} {
		sealed, err := decodeIdentity(golden)
		if err != nil {
			t.Fatal(err)
		}
		copy(sealed[test.at:], test.to)
		sum := sha256.Sum256(sealed[:len(sealed)-4])
		copy(sealed[len(sealed)-4:], sum[:])
		if _, err := OpenIdentity(encodeIdentity(sealed), []byte("correct horse battery staple")); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
	}
}

// FuzzIdentity decodes whatever somebody may hand over as an identity: the text,
// and the bytes. The seal between the two is fuzzed where it is made.
func FuzzIdentity(f *testing.F) {
	golden, err := os.ReadFile(filepath.Join("testdata", "identity1.txt"))
	if err != nil {
		f.Fatal(err)
	}
	sealed, err := decodeIdentity(golden)
	if err != nil {
		f.Fatal(err)
	}
	if !bytes.Equal(encodeIdentity(sealed), golden) {
		f.Error("the golden text would be another now")
	}
	identity := append([]byte(exportMagic), bytes.Repeat([]byte{7}, 32)...) // the seed
	identity = append(identity, make([]byte, len(crypto.Nospam{}))...)
	identity = wire.AppendIncarnation(identity, crypto.Incarnation{})
	identity = wire.AppendString16(wire.AppendString16(identity, "Alice"), "of the wood")
	if _, err := parseExport(identity); err != nil {
		f.Fatal(err)
	}
	f.Add(golden)
	f.Add(bytes.ReplaceAll(golden, []byte("\n"), []byte("\r\n ")))
	f.Add(golden[:len(golden)/2])
	f.Add(append(bytes.Clone(golden), golden...))
	f.Add([]byte(identityBegin + identityEnd))
	f.Add([]byte(identityEnd + identityBegin))
	f.Add([]byte(identityBegin + "AA=A" + identityEnd))
	f.Add([]byte(identityBegin + "AB==" + identityEnd)) // bits that no encoder sets
	f.Add(identity)
	f.Add(identity[:len(identity)-1])
	f.Add(identity[:len(exportMagic)+32])
	f.Add(wire.AppendBytes16(append(bytes.Clone(identity), make([]byte, 32)...), []byte("what is kept of a person")))
	f.Fuzz(func(t *testing.T, b []byte) {
		if sealed, err := decodeIdentity(b); err == nil {
			text := encodeIdentity(sealed)
			if again, err := decodeIdentity(text); err != nil || !bytes.Equal(again, sealed) {
				t.Errorf("%x comes back as %x, %v", sealed, again, err)
			}
		}
		x, err := parseExport(b)
		if err == nil && x.identity == nil {
			t.Error("an export without an identity was taken")
		}
	})
}
