package decoder

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net/netip"
	"strings"
)

// Types of STUN messages and attributes (RFC 8489, RFC 8445) that checks have.
const (
	stunRequest  = 0x0001
	stunResponse = 0x0101

	attrUsername    = 0x0006
	attrIntegrity   = 0x0008
	attrMapped      = 0x0020
	attrPriority    = 0x0024
	attrUse         = 0x0025
	attrFingerprint = 0x8028
	attrControlled  = 0x8029
	attrControlling = 0x802A

	stunHeader = 20
	stunCookie = 0x2112A442

	// peerReflexive is the priority of a peer-reflexive candidate: type
	// preference 110, the first local preference, component 1.
	peerReflexive = 110<<24 | 65535<<8 | (256 - 1)
)

// Check is a connectivity check of ICE, or its answer.
type Check struct {
	Response                 bool
	Transaction              string
	To, From                 string // user name fragments of a request
	Controlling, UseAsked    bool
	Mapped                   netip.AddrPort // of a response
	integrityAt, fingerprint int
	bytes                    []byte
}

// readCheck reads a STUN message. Its integrity is not looked at yet.
func readCheck(r *reader) *Check {
	c := &Check{bytes: r.bytes}
	kind := r.u16()
	r.must(kind == stunRequest || kind == stunResponse)
	c.Response = kind == stunResponse
	r.must(int(r.u16()) == len(r.bytes)-stunHeader)
	r.must(r.u32() == stunCookie)
	c.Transaction = string(r.take(12))
	seen := make(map[uint16]bool)
	for r.err == nil && r.left() > 0 {
		at := r.at
		kind, size := r.u16(), r.u16()
		r.must(!seen[kind] && !seen[attrFingerprint])
		r.must(!seen[attrIntegrity] || kind == attrFingerprint)
		seen[kind] = true
		v := &reader{bytes: r.take(uint64(size))}
		for range -size & 3 {
			r.must(r.u8() == 0)
		}
		c.attribute(v, kind, at)
		if v.err != nil || v.left() > 0 {
			r.fail(Value)
		}
	}
	r.must(seen[attrIntegrity] && seen[attrFingerprint])
	if c.Response {
		r.must(seen[attrMapped])
	} else {
		r.must(seen[attrUsername] && seen[attrPriority] && seen[attrControlled] != seen[attrControlling])
	}
	return c
}

// attribute reads one, which begins at an offset in the message.
func (c *Check) attribute(v *reader, kind uint16, at int) {
	request := !c.Response
	switch {
	case kind == attrUsername && request:
		var ok bool
		c.To, c.From, ok = strings.Cut(string(v.tail()), ":")
		v.must(ok)
	case (kind == attrControlled || kind == attrControlling) && request:
		c.Controlling = kind == attrControlling
		v.u64() // the tie-breaker
	case kind == attrPriority && request:
		v.must(v.u32() == peerReflexive)
	case kind == attrUse && request:
		c.UseAsked = true
	case kind == attrMapped && c.Response:
		v.must(v.u8() == 0 && v.u8() == 1) // IPv4, the family of the recording
		port := v.u16() ^ stunCookie>>16
		ip := v.u32() ^ stunCookie
		c.Mapped = netip.AddrPortFrom(netip.AddrFrom4([4]byte(be32(ip))), port)
	case kind == attrIntegrity:
		c.integrityAt = at
		v.take(sha1.Size)
	case kind == attrFingerprint:
		c.fingerprint = at
		v.take(4)
	default:
		v.fail(Kind)
	}
}

// verify checks MESSAGE-INTEGRITY with the password of a response's sender or
// of a request's receiver, and FINGERPRINT.
func (c *Check) verify(password string) error {
	// Both are over the message up to themselves, with the length as if they were its last.
	over := func(at, size int) []byte {
		b := bytes.Clone(c.bytes[:at])
		binary.BigEndian.PutUint16(b[2:], uint16(at+4+size-stunHeader))
		return b
	}
	mac := hmac.New(sha1.New, []byte(password))
	mac.Write(over(c.integrityAt, sha1.Size))
	if !hmac.Equal(mac.Sum(nil), c.bytes[c.integrityAt+4:c.integrityAt+4+sha1.Size]) {
		return errors.New("check whose MESSAGE-INTEGRITY is not of the password")
	}
	sum := crc32.ChecksumIEEE(over(c.fingerprint, 4)) ^ 0x5354554e
	if got := binary.BigEndian.Uint32(c.bytes[c.fingerprint+4:]); got != sum {
		return fmt.Errorf("check with FINGERPRINT %08x, not %08x", got, sum)
	}
	return nil
}
