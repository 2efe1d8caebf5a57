package crypto

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// FuzzParse gives bytes from outside to every function that takes them; the
// first byte chooses it. What parses must print as it was; what opens must
// have been sealed by us.
func FuzzParse(f *testing.F) {
	const parseID, parseAddress, parseDID, openKey, openIdentity, openPrekey = 0, 1, 2, 3, 4, 5
	seed := bytes.Repeat([]byte{7}, 32)
	key, err := KeyFromBytes(seed)
	if err != nil {
		f.Fatal(err)
	}
	identity, err := IdentityFromSeed(seed)
	if err != nil {
		f.Fatal(err)
	}
	prekey, err := PrekeyFromBytes(seed)
	if err != nil {
		f.Fatal(err)
	}
	secret := []byte("secret")
	toIdentity, err := identity.ID().Seal(nil, nil, secret)
	if err != nil {
		f.Fatal(err)
	}
	toPrekey, err := prekey.Public().Seal(nil, nil, secret)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(byte(parseID), []byte(identity.ID().String()))
	f.Add(byte(parseAddress), []byte(Address{ID: identity.ID(), Nospam: Nospam{1}}.String()))
	f.Add(byte(parseDID), []byte(identity.ID().DIDKey()))
	f.Add(byte(openKey), key.Seal(nil, nil, secret))
	f.Add(byte(openIdentity), toIdentity)
	f.Add(byte(openPrekey), toPrekey)
	kinds := map[string]byte{"id": parseID, "address": parseAddress, "did:key": parseDID}
	files, err := filepath.Glob("../docs/vectors/keys/bad_*.json")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds in docs/vectors/keys: %v", err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		var v vector
		if err := json.Unmarshal(b, &v); err != nil {
			f.Fatal(err)
		}
		f.Add(kinds[v.In["parse"]], []byte(v.In["text"]))
	}

	f.Fuzz(func(t *testing.T, kind byte, b []byte) {
		printed, err := string(b), error(nil)
		opened := secret
		switch kind % 6 {
		case parseID:
			var id ID
			if id, err = ParseID(string(b)); err == nil {
				printed = id.String()
			}
		case parseAddress:
			var a Address
			if a, err = ParseAddress(string(b)); err == nil {
				printed = a.String()
			}
		case parseDID:
			var id ID
			if id, err = ParseDIDKey(string(b)); err == nil {
				printed = id.DIDKey()
			}
		case openKey:
			opened, err = key.Open(nil, nil, b)
		case openIdentity:
			opened, err = identity.Open(nil, nil, b)
		case openPrekey:
			opened, err = prekey.Open(nil, nil, b)
		}
		if err != nil {
			return
		}
		if printed != string(b) {
			t.Errorf("kind %d: %q prints as %q", kind%6, b, printed)
		}
		// A fuzzer that knows the key could seal something else; it does not.
		if !bytes.Equal(opened, secret) {
			t.Errorf("kind %d: opened %q", kind%6, opened)
		}
	})
}
