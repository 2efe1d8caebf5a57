package wire

import "github.com/gocarrier/carrier/crypto"

// Profile is what a person tells friends of themselves (salt "p").
type Profile struct {
	Incarnation crypto.Incarnation
	Version     uint64
	Name        string // see CheckName
	Description string // see CheckDescription
}

// AppendProfile appends the encoded profile, at most 346 bytes:
//
//	 0   1  format
//	 1  16  incarnation
//	17   8  version
//	25   …  name: length (1), at most 64 bytes
//	 …   …  description: length (1), at most 255 bytes
func AppendProfile(dst []byte, x *Profile) []byte {
	dst = AppendUint8(dst, Format)
	dst = AppendIncarnation(dst, x.Incarnation)
	dst = AppendUint64(dst, x.Version)
	dst = AppendString8(dst, x.Name)
	return AppendString8(dst, x.Description)
}

// ParseProfile decodes what AppendProfile writes.
func ParseProfile(b []byte) (*Profile, error) {
	r := NewReader(b)
	r.format()
	x := &Profile{
		Incarnation: r.Incarnation(),
		Version:     r.Uint64(),
		Name:        r.checked(r.String8(MaxName), CheckName),
		Description: r.checked(r.String8(MaxDescr), CheckDescription),
	}
	if err := r.Done(); err != nil {
		return nil, err
	}
	return x, nil
}
