package wire

import (
	"net/netip"

	"github.com/gocarrier/carrier/crypto"
)

// Request asks a stranger to become a friend (a request bucket's value).
type Request struct {
	From        crypto.ID
	Incarnation crypto.Incarnation
	Nospam      crypto.Nospam
	Number      uint64 // rising per target, kept for ever
	Time        int64
	Expiry      int64  // unix ms
	Format      uint8  // highest format that the writer speaks
	Start       uint64 // nonce of the writer's present run
	Name        string // see CheckName
	Hello       string // see CheckHello
	Prekey      Prekey
	Endpoints   []netip.AddrPort
}

// AppendRequest appends the encoded request, at most 606 bytes:
//
//	 0   1  format
//	 1  32  ID of the requester
//	33  16  incarnation
//	49   8  nospam of the address that it was sent to
//	57   8  number, at least 1
//	65   8  time
//	73   8  expiry
//	81   1  highest format spoken, at least 1
//	82   8  start
//	90   …  name: length (1), at most 64 bytes
//	 …   …  hello: length (2), at most 256 bytes
//	 …  40  prekey: number (8), not 0, key (32)
//	 …   1  count of endpoints, at most 8
//	 …   …  endpoints, 7 or 19 bytes each
func AppendRequest(dst []byte, x *Request) []byte {
	dst = AppendUint8(dst, Format)
	dst = append(dst, x.From[:]...)
	dst = AppendIncarnation(dst, x.Incarnation)
	dst = append(dst, x.Nospam[:]...)
	dst = AppendUint64(dst, x.Number)
	dst = AppendTime(dst, x.Time)
	dst = AppendTime(dst, x.Expiry)
	dst = AppendUint8(dst, x.Format)
	dst = AppendUint64(dst, x.Start)
	dst = AppendString8(dst, x.Name)
	dst = AppendString16(dst, x.Hello)
	dst = appendPrekey(dst, x.Prekey)
	return appendEndpoints(dst, x.Endpoints)
}

// ParseRequest decodes what AppendRequest writes. Whether From is a valid key
// shows when the signature is verified.
func ParseRequest(b []byte) (*Request, error) {
	r := NewReader(b)
	r.format()
	x := &Request{}
	r.Fill(x.From[:])
	x.Incarnation = r.Incarnation()
	r.Fill(x.Nospam[:])
	x.Number = r.Uint64()
	r.check(x.Number >= 1, "request number is 0")
	x.Time = r.Time()
	x.Expiry = r.Time()
	x.Format = r.Uint8()
	r.check(x.Format >= Format, "highest format")
	x.Start = r.Uint64()
	x.Name = r.checked(r.String8(MaxName), CheckName)
	x.Hello = r.checked(r.String16(MaxHello), CheckHello)
	x.Prekey = r.prekey()
	x.Endpoints = r.endpoints()
	if err := r.Done(); err != nil {
		return nil, err
	}
	return x, nil
}
