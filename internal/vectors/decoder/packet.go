package decoder

import (
	"encoding/binary"
	"errors"
	"slices"
)

// Sizes of a data packet.
const (
	headerSize = 13
	minPacket  = headerSize + 16
	sampleAt   = headerSize
	replaySize = 8192
)

// Outcome is why a data packet is refused, by the names of docs/vectors.
type Outcome string

// Error makes an Outcome an error; errors.Is finds it.
func (o Outcome) Error() string { return "data packet refused as " + string(o) }

// nonce is the IV with the packet number added by XOR.
func nonce(iv []byte, number uint64) []byte {
	n := slices.Clone(iv)
	for i, b := range be64(number) {
		n[len(n)-8+i] ^= b
	}
	return n
}

// mask takes header protection off, or puts it on.
func (s *Schedule) mask(direction byte, packet []byte) error {
	m, err := HeaderMask(s.Suite, s.HeaderKey(direction), packet[sampleAt:sampleAt+16])
	if err != nil {
		return err
	}
	packet[0] ^= m[0] & 7
	for i := range 4 {
		packet[9+i] ^= m[1+i]
	}
	return nil
}

// Seal makes a data packet.
func (s *Schedule) Seal(direction byte, path uint32, phase, number uint64, plaintext []byte) ([]byte, error) {
	secret := s.Secret(direction, phase)
	aead, err := newAEAD(s.Suite, s.PacketKey(secret))
	if err != nil {
		return nil, err
	}
	packet := append([]byte{0xC0 | byte(phase&1)}, s.ConnectionID(direction, path)...)
	packet = binary.BigEndian.AppendUint32(packet, uint32(number))
	packet = aead.Seal(packet, nonce(s.IV(secret), number), plaintext, packet)
	return packet, s.mask(direction, packet)
}

// Receiver opens the data packets of one direction of a link.
type Receiver struct {
	schedule  *Schedule
	direction byte
	opened    map[uint64]bool
	highest   uint64
	phase     uint64
	began     uint64 // number of the packet that began the phase
	sealed    uint64 // packets that the receiver itself has sealed in the phase
}

// NewReceiver opens what one direction sends; the receiver has sealed some packets itself.
func NewReceiver(s *Schedule, direction byte, sealed uint64) *Receiver {
	return &Receiver{schedule: s, direction: direction, sealed: sealed, opened: make(map[uint64]bool)}
}

// Sealed tells that the receiver has sent a packet itself.
func (r *Receiver) Sealed() { r.sealed++ }

// Open returns packet number and plaintext. Errors are an Outcome.
func (r *Receiver) Open(datagram []byte) (number uint64, plaintext []byte, err error) {
	if len(datagram) < minPacket || datagram[0]&0xF8 != 0xC0 {
		return 0, nil, Outcome("type")
	}
	packet := slices.Clone(datagram)
	if err := r.schedule.mask(r.direction, packet); err != nil {
		return 0, nil, err
	}
	number = r.full(binary.BigEndian.Uint32(packet[9:headerSize]))
	phase := r.phase
	if uint64(packet[0]&1) != phase&1 {
		if number < r.began {
			phase--
		} else {
			phase++
		}
	}
	secret := r.schedule.Secret(r.direction, phase)
	aead, err := newAEAD(r.schedule.Suite, r.schedule.PacketKey(secret))
	if err != nil {
		return 0, nil, err
	}
	plaintext, err = aead.Open(nil, nonce(r.schedule.IV(secret), number), packet[headerSize:], packet[:headerSize])
	if err != nil {
		return 0, nil, Outcome("auth")
	}
	return number, plaintext, r.judge(packet[0], number, phase)
}

// full is the packet number nearest to the one that is expected (RFC 9000, appendix A.3).
func (r *Receiver) full(low uint32) uint64 {
	const window = uint64(1) << 32
	expected := uint64(0)
	if len(r.opened) > 0 {
		expected = r.highest + 1
	}
	number := expected&^(window-1) | uint64(low)
	switch {
	case number+window/2 <= expected && number < 1<<62-window:
		number += window
	case number > expected+window/2 && number >= window:
		number -= window
	}
	return number
}

// judge looks at a packet that opened.
func (r *Receiver) judge(first byte, number, phase uint64) error {
	switch {
	case first&6 != 0:
		return Outcome("fault")
	case r.opened[number]:
		return Outcome("duplicate")
	case number+replaySize <= r.highest:
		return Outcome("old")
	case phase > r.phase && (number < r.highest || r.sealed == 0):
		return Outcome("fault")
	}
	if phase > r.phase {
		r.phase, r.began, r.sealed = phase, number, 0
	}
	r.opened[number] = true
	r.highest = max(r.highest, number)
	return nil
}

// errConnection is a data packet with a connection ID that may not come.
var errConnection = errors.New("data packet of an unknown connection ID")

// connections are the connection IDs of a direction that may come, by index.
func (s *Schedule) connections(direction byte, n uint32) map[string]uint32 {
	ids := make(map[string]uint32)
	for i := range n {
		ids[string(s.ConnectionID(direction, i))] = i
	}
	return ids
}
