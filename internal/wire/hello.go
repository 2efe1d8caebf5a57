package wire

import (
	"net/netip"

	"github.com/gocarrier/carrier/crypto"
)

// Hello asks whether the friend is at an address, and answers the same.
// It is padded so that the answer is never larger than the question.
type Hello struct {
	Incarnation crypto.Incarnation
	Version     uint64 // rising
	Time        int64
	Start       uint64
	Bond        uint64
	Nonce       uint64 // ours, to be echoed
	Echo        uint64 // the newest nonce seen from this address; 0: none
	Presence    Presence
	Answer      bool           // true: no answer is expected
	Observed    netip.AddrPort // where we send this to: the reader's address as we see it
}

// AppendHello appends the encoded hello, 68 to 86 bytes:
//
//	 0   1  format
//	 1  16  incarnation
//	17   8  version
//	25   8  time
//	33   8  start
//	41   8  bond
//	49   8  nonce
//	57   8  echo
//	65   1  presence
//	66   1  answer: 0 or 1
//	67   …  observed address, 1, 7 or 19 bytes
func AppendHello(dst []byte, x *Hello) []byte {
	dst = AppendUint8(dst, Format)
	dst = AppendIncarnation(dst, x.Incarnation)
	dst = AppendUint64(dst, x.Version)
	dst = AppendTime(dst, x.Time)
	dst = AppendUint64(dst, x.Start)
	dst = AppendUint64(dst, x.Bond)
	dst = AppendUint64(dst, x.Nonce)
	dst = AppendUint64(dst, x.Echo)
	dst = AppendUint8(dst, uint8(x.Presence))
	dst = AppendBool(dst, x.Answer)
	return AppendAddrPort(dst, x.Observed)
}

// ParseHello decodes what AppendHello writes.
func ParseHello(b []byte) (*Hello, error) {
	r := NewReader(b)
	r.format()
	x := &Hello{
		Incarnation: r.Incarnation(),
		Version:     r.Uint64(),
		Time:        r.Time(),
		Start:       r.Uint64(),
		Bond:        r.Uint64(),
		Nonce:       r.Uint64(),
		Echo:        r.Uint64(),
		Presence:    r.presence(),
		Answer:      r.Bool(),
		Observed:    r.AddrPort(),
	}
	if err := r.Done(); err != nil {
		return nil, err
	}
	return x, nil
}
