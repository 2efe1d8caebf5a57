package main

import (
	"crypto/sha1"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
)

// forger makes datagrams that look like those of the nodes' socket, but are not:
// of each kind that the first byte tells, well-formed ones from nobody, damaged
// ones, and damaged answers of the nodes themselves.
type forger struct {
	random *rand.Rand
	heard  [][]byte // answers of the nodes
}

const heardMost = 64

// hear keeps an answer, to be damaged and sent back.
func (f *forger) hear(b []byte) {
	if len(f.heard) < heardMost {
		f.heard = append(f.heard, b)
		return
	}
	f.heard[f.random.IntN(heardMost)] = b
}

// next makes a datagram.
func (f *forger) next() []byte {
	switch f.random.IntN(12) {
	case 0:
		return f.bytes(f.random.IntN(1500))
	case 1:
		return f.stun()
	case 2:
		return f.channelData()
	case 3, 4, 5:
		return []byte(f.krpc())
	case 6:
		return f.damage([]byte(f.krpc()))
	case 7:
		return f.header(0xC0+byte(f.random.IntN(8)), 8, f.random.IntN(1400)) // data of a link
	case 8:
		return f.envelope()
	case 9:
		return f.handshake()
	case 10:
		return f.bytes(f.random.IntN(3))
	default:
		if len(f.heard) == 0 {
			return f.nested()
		}
		return f.damage(f.heard[f.random.IntN(len(f.heard))])
	}
}

func (f *forger) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(f.random.Uint32())
	}
	return b
}

// header is a first byte, a random field and a random rest.
func (f *forger) header(first byte, field, rest int) []byte {
	return append([]byte{first}, f.bytes(field+rest)...)
}

// damage changes, cuts, doubles or lengthens a copy.
func (f *forger) damage(b []byte) []byte {
	b = append([]byte(nil), b...)
	for range 1 + f.random.IntN(4) {
		if len(b) == 0 {
			return f.bytes(1)
		}
		i := f.random.IntN(len(b))
		switch f.random.IntN(6) {
		case 0:
			b[i] ^= 1 << f.random.IntN(8)
		case 1:
			b[i] = "d:le0i-9"[f.random.IntN(8)]
		case 2:
			b = b[:i]
		case 3:
			b = append(b[:i:i], b[i+f.random.IntN(len(b)-i):]...)
		case 4:
			b = append(b[:i:i], append(f.bytes(f.random.IntN(20)), b[i:]...)...)
		default:
			b = append(b, b[i:]...)
		}
	}
	return b[:min(len(b), 1500)]
}

// stun makes a message of RFC 8489: a request or a response, with attributes
// that an ICE agent would look at.
func (f *forger) stun() []byte {
	kinds := []uint16{0x0001, 0x0101, 0x0111, 0x0011, 0x0003, 0x0103, 0x0017, uint16(f.random.IntN(0x400))}
	b := binary.BigEndian.AppendUint16(nil, kinds[f.random.IntN(len(kinds))])
	b = append(b, 0, 0, 0x21, 0x12, 0xA4, 0x42)
	b = append(b, f.bytes(12)...)
	for range f.random.IntN(6) {
		attributes := []uint16{0x0006, 0x0008, 0x0020, 0x0001, 0x0024, 0x0025, 0x8029, 0x802A, 0x8028, 0x0013, 0x0009, uint16(f.random.Uint32())}
		value := f.bytes([]int{0, 4, 8, 13, 20, 32, 200}[f.random.IntN(7)])
		b = binary.BigEndian.AppendUint16(b, attributes[f.random.IntN(len(attributes))])
		b = binary.BigEndian.AppendUint16(b, uint16(len(value)))
		b = append(b, value...)
		b = append(b, make([]byte, -len(value)&3)...)
	}
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)-20))
	if f.random.IntN(4) == 0 {
		return f.damage(b)
	}
	return b
}

// channelData makes what only a TURN server may send (RFC 8656).
func (f *forger) channelData() []byte {
	payload := f.envelope()
	b := []byte{64 + byte(f.random.IntN(16)), byte(f.random.Uint32())}
	b = binary.BigEndian.AppendUint16(b, uint16(len(payload)))
	return append(b, payload...)
}

// envelope makes one of a length that is right, of this format or a later one.
func (f *forger) envelope() []byte {
	size := []int{256, 512, 900, 1408, f.random.IntN(1450)}[f.random.IntN(5)]
	first := byte(0xC8)
	if f.random.IntN(4) == 0 {
		first += 1 + byte(f.random.IntN(3))
	}
	return f.header(first, 8, max(0, size-9))
}

// handshake makes a DTLS 1.2 record (RFC 6347) after the number of an attempt.
func (f *forger) handshake() []byte {
	body := f.bytes(f.random.IntN(300))
	record := []byte{byte(20 + f.random.IntN(6)), 0xFE, 0xFD, 0, byte(f.random.IntN(2)), 0, 0, 0, 0, 0, byte(f.random.IntN(20))}
	if record[0] == 22 { // handshake: ClientHello, ServerHello, HelloVerifyRequest, Certificate, …
		head := []byte{[]byte{1, 2, 3, 11, 12, 14, 16, 20}[f.random.IntN(8)], 0, byte(len(body) >> 8), byte(len(body)), 0, 0, 0, 0, 0, 0, byte(len(body) >> 8), byte(len(body))}
		body = append(append(head, 0xFE, 0xFD), body...)
	}
	record = binary.BigEndian.AppendUint16(record, uint16(len(body)))
	b := append(f.header(0xCC, 8, 0), append(record, body...)...)
	if f.random.IntN(3) == 0 {
		return f.damage(b)
	}
	return b
}

// nested makes bencoded values that are deep, or claim to be long.
func (f *forger) nested() []byte {
	return []byte([]string{
		"d" + strings.Repeat("1:ad", 1+f.random.IntN(300)),
		"d1:a" + strings.Repeat("l", 1+f.random.IntN(1400)),
		"d1:ai" + strings.Repeat("9", 1+f.random.IntN(1000)) + "ee",
		fmt.Sprintf("d1:a%d:x", f.random.Uint64()),
		fmt.Sprintf("d%d:", f.random.Uint32()),
		"d1:q4:ping1:t0:1:y1:qe", "d1:t1:x1:y1:qe", "d1:t1:x1:y1:re", "d1:e0:1:t1:x1:y1:ee", "de", "d",
	}[f.random.IntN(11)])
}

// krpc makes a query, a response or an error of BEP 5 and 44, well-formed or
// with fields that are missing, strange, or of a wrong length.
func (f *forger) krpc() string {
	if f.random.IntN(10) == 0 {
		return string(f.nested())
	}
	text := func(n int) string {
		if f.random.IntN(12) == 0 {
			n = f.random.IntN(40)
		}
		return fmt.Sprintf("%d:%s", n, f.bytes(n))
	}
	value := fmt.Sprintf("%d:%s", 100, f.bytes(100))
	where := sha1.Sum([]byte(value))
	token := text([]int{4, 8, 20}[f.random.IntN(3)])
	id := "2:id" + text(20)
	end := "1:t" + text(2) + "1:y1:"
	query := func(name, args string) string {
		return fmt.Sprintf("d1:ad%se1:q%d:%s%sqe", args, len(name), name, end)
	}
	response := func(body string) string { return "d1:rd" + body + "e" + end + "re" }
	switch f.random.IntN(16) {
	case 0:
		return query("ping", id)
	case 1:
		return query("find_node", id+"6:target"+text(20))
	case 2:
		return query("get_peers", id+"9:info_hash"+text(20))
	case 3:
		return query("get", id+"6:target"+fmt.Sprintf("%d:%s", len(where), where[:]))
	case 4:
		return query("get", id+"3:seqi"+fmt.Sprint(int64(f.random.Uint64()))+"e6:target"+text(20))
	case 5:
		return query("announce_peer", id+"12:implied_porti1e9:info_hash"+text(20)+"4:porti"+fmt.Sprint(f.random.IntN(1<<17))+"e5:token"+token)
	case 6:
		return query("put", id+"5:token"+token+"1:v"+value)
	case 7:
		return query("put", "3:casi1e"+id+"1:k"+text(32)+"4:salt"+text(f.random.IntN(70))+"3:seqi"+fmt.Sprint(int64(f.random.Uint64()))+"e3:sig"+text(64)+"5:token"+token+"1:v"+value)
	case 8:
		return "d1:q" + []string{"3:put", "13:announce_peer", "4:ping", "3:get", "9:find_node"}[f.random.IntN(5)] + end + "qe" // without arguments
	case 9:
		return query(string(f.bytes(f.random.IntN(30))), id)
	case 10:
		return response(id + "5:nodes" + text(26*f.random.IntN(20)))
	case 11:
		return response(id + "6:nodes6" + text(38*f.random.IntN(10)) + "5:token" + token)
	case 12:
		return response(id + "1:k" + text(32) + "3:sig" + text(64) + "5:token" + token + "1:v" + value) // without seq
	case 13:
		return "d2:ip" + text(f.random.IntN(8)) + "1:rd" + id + "e" + end + "re"
	case 14:
		return response(id + "6:valuesl" + text(f.random.IntN(7)) + text(6) + text(18) + "e")
	default:
		return "d1:eli" + fmt.Sprint(f.random.IntN(400)) + "e" + text(10) + "e" + end + "ee"
	}
}
