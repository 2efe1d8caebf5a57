package store

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"

	"github.com/gocarrier/carrier/crypto"
)

const (
	saltSize  = 16
	checkSize = 16
	maskSize  = 16
)

// keys are what the at-rest key becomes for one file. They do not change and
// are safe for concurrent use.
type keys struct {
	mask  []byte     // of the PRF over owners
	seal  crypto.Key // of rows and prekeys
	check []byte     // stands in the file in clear and tells a wrong key
}

// deriveKeys separates the keys of one file from those of every other by its
// salt and by what it is.
func deriveKeys(secret, salt []byte, file string) (*keys, error) {
	if len(secret) != KeySize {
		return nil, fmt.Errorf("%w: it has %d bytes, %d are needed", ErrWrongKey, len(secret), KeySize)
	}
	prk, err := hkdf.Extract(sha256.New, secret, salt)
	if err != nil {
		return nil, fmt.Errorf("derive at-rest keys: %w", err)
	}
	expand := func(purpose string, n int) []byte {
		if err != nil {
			return nil
		}
		var key []byte
		key, err = hkdf.Expand(sha256.New, prk, "carrier at rest 1 "+file+" "+purpose, n)
		return key
	}
	k := &keys{mask: expand("mask", sha256.Size), check: expand("check", checkSize)}
	seal := expand("seal", crypto.KeySize)
	if err != nil {
		return nil, fmt.Errorf("derive at-rest keys: %w", err)
	}
	if k.seal, err = crypto.KeyFromBytes(seal); err != nil {
		return nil, fmt.Errorf("derive at-rest keys: %w", err)
	}
	return k, nil
}

// fits tells whether a file with this check value was made with these keys.
func (k *keys) fits(check []byte) bool { return hmac.Equal(check, k.check) }

// address returns the bbolt key of a row: mask ‖ key.
func (k *keys) address(table string, owner, key []byte) []byte {
	h := hmac.New(sha256.New, k.mask)
	h.Write([]byte{byte(len(table))})
	h.Write([]byte(table))
	h.Write(owner)
	sum := h.Sum(make([]byte, 0, max(sha256.Size, maskSize+len(key))))
	return append(sum[:maskSize], key...)
}

// sealRow returns the bbolt value of a row that stands at an address.
func (k *keys) sealRow(table string, address, owner, value []byte) []byte {
	plain := make([]byte, 0, 1+len(owner)+len(value))
	plain = append(plain, byte(len(owner)))
	plain = append(plain, owner...)
	plain = append(plain, value...)
	return k.seal.Seal(nil, rowAD(table, address), plain)
}

// openRow returns owner, key and value of what stands at an address of a
// table. Whatever the bytes are, it returns an error or the row as it was
// sealed for this very place. Owner is nil for none, value is never nil.
func (k *keys) openRow(table string, address, sealed []byte) (owner, key, value []byte, err error) {
	bad := func(why string) ([]byte, []byte, []byte, error) {
		return nil, nil, nil, fmt.Errorf("%w: a row of table %s %s", ErrDamaged, table, why)
	}
	if len(address) < maskSize {
		return bad("has no owner mask")
	}
	plain, err := k.seal.Open(nil, rowAD(table, address), sealed)
	if err != nil {
		return bad("does not open")
	}
	if len(plain) == 0 || (plain[0] != 0 && plain[0] != OwnerSize) || len(plain) < 1+int(plain[0]) {
		return bad("has no owner")
	}
	if n := 1 + int(plain[0]); n > 1 {
		owner = plain[1:n:n]
	}
	key = bytes.Clone(address[maskSize:])
	if !bytes.Equal(k.address(table, owner, key), address) {
		return bad("stands with another owner")
	}
	return owner, key, plain[1+len(owner):], nil
}

// rowAD binds a sealed row to its place.
func rowAD(table string, address []byte) []byte {
	ad := make([]byte, 0, 1+len(table)+len(address))
	ad = append(ad, byte(len(table)))
	ad = append(ad, table...)
	return append(ad, address...)
}
