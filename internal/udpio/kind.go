package udpio

import "strconv"

// Kind is what a datagram is for, told by its first byte (RFC 7983 does the same for WebRTC).
type Kind uint8

// The kinds and their first bytes.
const (
	STUN        Kind = iota // 0-3: STUN, RFC 8489
	TURNChannel             // 64-79: TURN channel data, RFC 8656; only from configured TURN servers
	KRPC                    // 'd': BitTorrent DHT messages, BEP 5
	Data                    // 0xC0-0xC7: a link's data packet
	Envelope                // 0xC8-0xCB: a sealed envelope
	Handshake               // 0xCC: a link's handshake, attempt id and DTLS record
)

// kinds is the number of kinds; they are 0 to kinds-1.
const kinds = 6

// KindOf tells the kind of a datagram by its first byte; false if it is of none.
func KindOf(first byte) (Kind, bool) {
	switch {
	case first <= 3:
		return STUN, true
	case first >= 64 && first <= 79:
		return TURNChannel, true
	case first == 'd':
		return KRPC, true
	case first >= 0xC0 && first <= 0xC7:
		return Data, true
	case first >= 0xC8 && first <= 0xCB:
		return Envelope, true
	case first == 0xCC:
		return Handshake, true
	}
	return 0, false
}

// String returns the name by which the kind is counted, such as "krpc".
func (k Kind) String() string {
	switch k {
	case STUN:
		return "stun"
	case TURNChannel:
		return "turn_channel"
	case KRPC:
		return "krpc"
	case Data:
		return "data"
	case Envelope:
		return "envelope"
	case Handshake:
		return "handshake"
	}
	return "kind_" + strconv.Itoa(int(k))
}
