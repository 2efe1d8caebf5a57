package decoder

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// bencoded reads one value of BEP 3: a string ([]byte), int64, []any or
// map[string]any, in its canonical form.
func (r *reader) bencoded(depth int) any {
	const deepest = 8
	r.must(depth < deepest)
	if r.err != nil || r.left() == 0 {
		r.fail(Short)
		return nil
	}
	switch first := r.bytes[r.at]; first {
	case 'i':
		r.at++
		return r.decimal('e')
	case 'l':
		r.at++
		list := []any{}
		for !r.ends() {
			list = append(list, r.bencoded(depth+1))
		}
		return list
	case 'd':
		r.at++
		dict, last := make(map[string]any), ""
		for !r.ends() {
			key := string(r.counted())
			r.must(len(dict) == 0 || key > last)
			dict[key], last = r.bencoded(depth+1), key
		}
		return dict
	}
	return []byte(r.counted())
}

// ends takes the end of a list or dictionary, if it is there.
func (r *reader) ends() bool {
	if r.err == nil && r.left() == 0 {
		r.fail(Short)
	}
	if r.err == nil && r.bytes[r.at] == 'e' {
		r.at++
		return true
	}
	return r.err != nil
}

// counted is a string behind its length.
func (r *reader) counted() Hex {
	n := r.decimal(':')
	if n < 0 {
		r.fail(Value)
		return nil
	}
	return r.take(uint64(n))
}

// decimal is a number in its shortest form, up to a terminator.
func (r *reader) decimal(end byte) int64 {
	for i := r.at; r.err == nil && i < len(r.bytes) && i-r.at <= 20; i++ {
		if r.bytes[i] != end {
			continue
		}
		text := string(r.bytes[r.at:i])
		n, err := strconv.ParseInt(text, 10, 64)
		r.must(err == nil && strconv.FormatInt(n, 10) == text)
		r.at = i + 1
		return n
	}
	r.fail(Value)
	return 0
}

// KRPC is a message of the DHT.
type KRPC struct {
	Query string         // what is asked, nothing in an answer
	Body  map[string]any // the arguments, or the values of an answer
}

// Slot is a mutable item of BEP 44.
type Slot struct {
	Key   ed25519.PublicKey
	Salt  string
	Seq   int64
	Value []byte
}

func readKRPC(r *reader) *KRPC {
	m, _ := r.bencoded(0).(map[string]any)
	text := func(key string) string {
		b, _ := m[key].([]byte)
		return string(b)
	}
	k := &KRPC{}
	ok := false
	switch text("y") {
	case "q":
		k.Query = text("q")
		k.Body, ok = m["a"].(map[string]any)
		ok = ok && slices.Contains([]string{"ping", "find_node", "get_peers", "announce_peer", "get", "put"}, k.Query)
	case "r":
		k.Body, ok = m["r"].(map[string]any)
	case "e":
		_, ok = m["e"].([]any)
	}
	id, _ := k.Body["id"].([]byte)
	r.must(ok && text("t") != "" && (text("y") == "e" || len(id) == 20))
	return k
}

// slot is the mutable item that a message puts, which its signature must fit.
func (k *KRPC) slot() (*Slot, error) {
	value, ok := k.Body["v"].([]byte)
	if !ok {
		return nil, errors.New("put without a value")
	}
	s := &Slot{Value: value}
	key, _ := k.Body["k"].([]byte)
	sig, _ := k.Body["sig"].([]byte)
	salt, _ := k.Body["salt"].([]byte)
	s.Key, s.Salt = key, string(salt)
	if s.Seq, ok = k.Body["seq"].(int64); !ok || len(key) != ed25519.PublicKeySize || len(sig) != ed25519.SignatureSize {
		return nil, errors.New("item without key, seq or signature")
	}
	signed := ""
	if s.Salt != "" {
		signed = fmt.Sprintf("4:salt%d:%s", len(s.Salt), s.Salt)
	}
	signed += fmt.Sprintf("3:seqi%de1:v%d:%s", s.Seq, len(s.Value), s.Value)
	if !ed25519.Verify(s.Key, []byte(signed), sig) {
		return nil, errors.New("item whose signature does not verify")
	}
	return s, nil
}
