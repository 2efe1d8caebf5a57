package decoder

import (
	"math/big"
	"slices"
)

// curve is edwards25519 (RFC 8032, section 5.1) by plain arithmetic: keys here
// are public or in the vectors, so that time tells nothing worth hiding.
type curve struct {
	p, d, order *big.Int
}

func newCurve() *curve {
	p := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	d := new(big.Int).ModInverse(big.NewInt(121666), p)
	d.Mul(d, big.NewInt(-121665)).Mod(d, p)
	order, _ := new(big.Int).SetString("27742317777372353535851937790883648493", 10)
	return &curve{p: p, d: d, order: order.Add(order, new(big.Int).Lsh(big.NewInt(1), 252))}
}

// point is in extended coordinates: x = X/Z, y = Y/Z, xy = T/Z.
type point struct{ x, y, z, t *big.Int }

func (c *curve) mul(a, b *big.Int) *big.Int {
	v := new(big.Int).Mul(a, b)
	return v.Mod(v, c.p)
}

// decode reads the canonical encoding of a point.
func (c *curve) decode(key [32]byte) (point, bool) {
	sign := uint(key[31] >> 7)
	key[31] &= 0x7f
	slices.Reverse(key[:])
	y := new(big.Int).SetBytes(key[:])
	if y.Cmp(c.p) >= 0 {
		return point{}, false
	}
	one := big.NewInt(1)
	square := c.mul(y, y)
	down := new(big.Int).Add(c.mul(c.d, square), one)
	square.Sub(square, one)
	x := new(big.Int).ModSqrt(c.mul(square, down.ModInverse(down, c.p)), c.p)
	if x == nil || x.Sign() == 0 && sign == 1 {
		return point{}, false
	}
	if x.Bit(0) != sign {
		x.Sub(c.p, x)
	}
	return point{x: x, y: y, z: one, t: c.mul(x, y)}, true
}

// add is the complete addition of RFC 8032, section 5.1.4.
func (c *curve) add(p, q point) point {
	a := c.mul(new(big.Int).Sub(p.y, p.x), new(big.Int).Sub(q.y, q.x))
	b := c.mul(new(big.Int).Add(p.y, p.x), new(big.Int).Add(q.y, q.x))
	t := c.mul(p.t, q.t)
	t = c.mul(t.Lsh(t, 1), c.d)
	z := c.mul(p.z, q.z)
	z.Lsh(z, 1)
	e, f := new(big.Int).Sub(b, a), new(big.Int).Sub(z, t)
	g, h := new(big.Int).Add(z, t), new(big.Int).Add(b, a)
	return point{x: c.mul(e, f), y: c.mul(g, h), z: c.mul(f, g), t: c.mul(e, h)}
}

func (c *curve) neutral(p point) bool { return p.x.Sign() == 0 && p.y.Cmp(p.z) == 0 }

// counts reports whether an ID counts: the canonical encoding of a point of
// prime order (Identities).
func (c *curve) counts(key [32]byte) bool {
	p, ok := c.decode(key)
	if !ok || c.neutral(p) {
		return false
	}
	sum := point{x: new(big.Int), y: big.NewInt(1), z: big.NewInt(1), t: new(big.Int)}
	for i := c.order.BitLen() - 1; i >= 0; i-- {
		sum = c.add(sum, sum)
		if c.order.Bit(i) == 1 {
			sum = c.add(sum, p)
		}
	}
	return c.neutral(sum)
}

// montgomery is the X25519 form of a key that counts: u = (1 + y) / (1 − y).
func (c *curve) montgomery(key [32]byte) [32]byte {
	p, _ := c.decode(key)
	up, down := new(big.Int).Add(p.z, p.y), new(big.Int).Sub(p.z, p.y)
	down.Mod(down, c.p)
	u := c.mul(up, down.ModInverse(down, c.p))
	var out [32]byte
	u.FillBytes(out[:])
	slices.Reverse(out[:])
	return out
}
