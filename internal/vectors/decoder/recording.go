package decoder

import (
	"crypto/ecdh"
	"fmt"
	"net/netip"
	"strings"
)

// Recording is docs/vectors/link.json.
type Recording struct {
	People    []Person
	Keylog    []string
	Want      map[string]string
	Datagrams []RecordedDatagram
}

// Person is one of the two whose datagrams are recorded.
type Person struct {
	Name    string
	Seed    Hex
	ID      Hex
	Address netip.AddrPort
	Prekeys []struct {
		Number  uint64 `json:",string"`
		Private Hex
	}
}

// RecordedDatagram is one that a person has sent to the other.
type RecordedDatagram struct {
	Time  uint64 `json:",string"` // in µs since 1970
	From  string
	Bytes Hex
}

// parties are the two as readers, the one of the lower ID first.
func (rec *Recording) parties() (parties [2]*Party, err error) {
	if len(rec.People) != len(parties) {
		return parties, fmt.Errorf("%d people, not 2", len(rec.People))
	}
	for i, p := range rec.People {
		own, err := NewIdentity(p.Seed)
		if err != nil {
			return parties, fmt.Errorf("%s: %w", p.Name, err)
		}
		if string(own.ID[:]) != string(p.ID) {
			return parties, fmt.Errorf("%s: the ID is not that of the seed", p.Name)
		}
		parties[i] = &Party{Own: own, Prekeys: make(map[uint64]*ecdh.PrivateKey)}
		for _, k := range p.Prekeys {
			if parties[i].Prekeys[k.Number], err = ecdh.X25519().NewPrivateKey(k.Private); err != nil {
				return parties, fmt.Errorf("%s: prekey %d: %w", p.Name, k.Number, err)
			}
		}
	}
	pair, err := NewPair(parties[0].Own, parties[1].Own.ID) // the same for both
	if err != nil {
		return parties, err
	}
	for i, p := range parties {
		p.Friend, p.Pair = parties[1-i].Own.ID, pair
	}
	if parties[0].Own.ID != pair.Lower {
		parties[0], parties[1] = parties[1], parties[0]
	}
	return parties, nil
}

// keys are the lines of the key log of one label.
func (rec *Recording) keys(label string) (map[string]Hex, error) {
	keys := make(map[string]Hex)
	for _, line := range rec.Keylog {
		f := strings.Fields(line)
		if len(f) != 3 {
			return nil, fmt.Errorf("line of the key log with %d fields", len(f))
		}
		if f[0] != label {
			continue
		}
		var of, key Hex
		if err := of.UnmarshalText([]byte(f[1])); err != nil {
			return nil, err
		}
		if err := key.UnmarshalText([]byte(f[2])); err != nil {
			return nil, err
		}
		keys[string(of)] = key
	}
	return keys, nil
}
