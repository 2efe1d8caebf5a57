package crypto

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"runtime"
	"testing"

	"golang.org/x/crypto/argon2"
)

// cheap is the least cost, for tests of what does not depend on it.
func cheap() cost { return cost{passes: 1, memory: 8, lanes: 1} }

// patched returns a sealed value with other bytes at an offset, and a checksum
// that fits them.
func patched(sealed []byte, at int, b ...byte) []byte {
	out := bytes.Clone(sealed)
	copy(out[at:], b)
	sum := sha256.Sum256(out[:len(out)-checksumSize])
	copy(out[len(out)-checksumSize:], sum[:])
	return out
}

func TestPassphrase(t *testing.T) {
	pass, ad := []byte("correct horse"), []byte("ad")
	for _, plain := range [][]byte{nil, []byte("x"), bytes.Repeat([]byte("long "), 2000)} {
		sealed := sealPassphrase(cheap(), pass, ad, plain)
		if got, want := len(sealed), len(plain)+PassphraseOverhead; got != want {
			t.Errorf("%d bytes seal to %d, want %d", len(plain), got, want)
		}
		if got, err := OpenPassphrase(pass, ad, sealed); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("OpenPassphrase = %d bytes, %v, want %d", len(got), err, len(plain))
		}
		if bytes.Equal(sealed, sealPassphrase(cheap(), pass, ad, plain)) {
			t.Error("sealed twice it is the same")
		}
	}
	sealed := sealPassphrase(cheap(), pass, ad, []byte("secret"))
	for name, test := range map[string]struct {
		pass, ad, sealed []byte
		want             error
	}{
		"another passphrase":   {[]byte("Correct horse"), ad, sealed, ErrPassphrase},
		"empty passphrase":     {nil, ad, sealed, ErrPassphrase},
		"another purpose":      {pass, []byte("other"), sealed, ErrPassphrase},
		"another salt":         {pass, ad, patched(sealed, 10, sealed[10]^1), ErrPassphrase},
		"other passes":         {pass, ad, patched(sealed, 4, 2), ErrPassphrase},
		"changed, sum put by":  {pass, ad, patched(sealed, passphraseHeader+30, sealed[passphraseHeader+30]^1), ErrPassphrase},
		"nothing":              {pass, ad, nil, ErrLength},
		"cut to the overhead":  {pass, ad, sealed[:PassphraseOverhead-1], ErrLength},
		"a byte lost":          {pass, ad, sealed[:len(sealed)-1], ErrChecksum},
		"a byte more":          {pass, ad, append(bytes.Clone(sealed), 0), ErrChecksum},
		"a bit flipped":        {pass, ad, append(bytes.Clone(sealed[:len(sealed)-1]), sealed[len(sealed)-1]^1), ErrChecksum},
		"a version to come":    {pass, ad, patched(sealed, 0, 2), ErrVersion},
		"version zero":         {pass, ad, patched(sealed, 0, 0), ErrVersion},
		"no pass":              {pass, ad, patched(sealed, 1, 0, 0, 0, 0), ErrCost},
		"2³²-1 passes":         {pass, ad, patched(sealed, 1, 255, 255, 255, 255), ErrCost},
		"4 TiB":                {pass, ad, patched(sealed, 5, 255, 255, 255, 255), ErrCost},
		"1 GiB and a KiB":      {pass, ad, patched(sealed, 5, 0, 16, 0, 1), ErrCost},
		"1 GiB in five passes": {pass, ad, patched(sealed, 1, 0, 0, 0, 5, 0, 16, 0, 0), ErrCost},
		"no lane":              {pass, ad, patched(sealed, 9, 0), ErrCost},
		"65 lanes":             {pass, ad, patched(sealed, 5, 0, 0, 64, 0, 65), ErrCost},
		"lanes without memory": {pass, ad, patched(sealed, 9, 2), ErrCost},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		got, err := OpenPassphrase(test.pass, test.ad, test.sealed)
		runtime.ReadMemStats(&after)
		if !errors.Is(err, test.want) || got != nil {
			t.Errorf("%s: %q, %v, want %v", name, got, err, test.want)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > 1<<20 {
			t.Errorf("%s: it took %d bytes of memory to refuse", name, took)
		}
	}
	if !usualCost().valid() {
		t.Error("what is sealed now would not be opened")
	}
}

// A value sealed by the first version opens for ever.
func TestPassphraseGolden(t *testing.T) {
	sealed, err := hex.DecodeString(goldenPassphrase)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := OpenPassphrase([]byte("correct horse battery staple"), []byte("golden"), sealed)
	if err != nil || string(plain) != "carrier" {
		t.Errorf("OpenPassphrase = %q, %v, want carrier", plain, err)
		t.Logf("sealed now: %x", SealPassphrase([]byte("correct horse battery staple"), []byte("golden"), []byte("carrier")))
	}
	now := SealPassphrase(nil, nil, nil)
	if got := (cost{binary.BigEndian.Uint32(now[1:]), binary.BigEndian.Uint32(now[5:]), now[9]}); got != (cost{3, 64 << 10, 4}) {
		t.Errorf("sealed now at a cost of %+v", got)
	}
	// A test of the reference implementation:
	// echo -n password | argon2 somesalt -id -t 2 -k 65536 -p 1 -l 32
	if got := hex.EncodeToString(argon2.IDKey([]byte("password"), []byte("somesalt"), 2, 65536, 1, 32)); got != "09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f61913cf7" {
		t.Errorf("Argon2id gives %s", got)
	}
}

const goldenPassphrase = "01000000030001000004444f6e57519b2aff8aab1a27500f75e0c8a04a0c142ec1414293ac3863933632e01991ce1f82d2fdcfd39b945208e6a6a652c3b645b224e522318677e3d3729d7a1cac"

// FuzzOpenPassphrase opens whatever somebody may hand over.
func FuzzOpenPassphrase(f *testing.F) {
	golden, err := hex.DecodeString(goldenPassphrase)
	if err != nil {
		f.Fatal(err)
	}
	sealed := sealPassphrase(cheap(), []byte("pass"), nil, []byte("secret"))
	f.Add(sealed, false)
	f.Add(golden, false)
	f.Add(sealed[:passphraseHeader], true)
	for at := range passphraseHeader {
		f.Add(patched(sealed, at, 255), true)
	}
	f.Fuzz(func(t *testing.T, b []byte, sum bool) {
		if sum && len(b) > checksumSize { // what lies behind the checksum is reached, too
			b = patched(b, 0)
		}
		if len(b) >= passphraseHeader {
			c := cost{binary.BigEndian.Uint32(b[1:]), binary.BigEndian.Uint32(b[5:]), b[9]}
			if c.valid() && uint64(c.passes)*uint64(c.memory) > 1<<12 {
				return // allowed, and too slow to be tried often
			}
		}
		plain, err := OpenPassphrase([]byte("pass"), nil, b)
		if err != nil {
			for _, known := range []error{ErrLength, ErrChecksum, ErrVersion, ErrCost, ErrPassphrase} {
				if errors.Is(err, known) && plain == nil {
					return
				}
			}
			t.Errorf("OpenPassphrase = %x, %v", plain, err)
			return
		}
		if len(plain)+PassphraseOverhead != len(b) {
			t.Errorf("%d bytes opened as %d", len(b), len(plain))
		}
	})
}
