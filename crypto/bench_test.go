package crypto

import "testing"

func BenchmarkPair(b *testing.B) {
	i, friend := NewIdentity(), NewIdentity().ID()
	for b.Loop() {
		if _, err := i.Pair(friend); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPairKey(b *testing.B) {
	p := pairOf(b, NewIdentity(), NewIdentity())
	for b.Loop() {
		p.Key(Out, 1)
	}
}

func BenchmarkPairTag(b *testing.B) {
	p := pairOf(b, NewIdentity(), NewIdentity())
	for b.Loop() {
		p.Tag(Out, 1)
	}
}

func BenchmarkPairSlot(b *testing.B) {
	p := pairOf(b, NewIdentity(), NewIdentity())
	for b.Loop() {
		p.Slot(Out, 1)
	}
}

func BenchmarkSign(b *testing.B) {
	i := NewIdentity()
	t := sampleTranscript(i.ID(), NewIdentity().ID())
	t.Body = make([]byte, 700)
	for b.Loop() {
		i.Sign(t)
	}
}

func BenchmarkVerify(b *testing.B) {
	i := NewIdentity()
	t := sampleTranscript(i.ID(), NewIdentity().ID())
	t.Body = make([]byte, 700)
	s := i.Sign(t)
	for b.Loop() {
		if !t.Verify(s) {
			b.Fatal("does not verify")
		}
	}
}

func BenchmarkValid(b *testing.B) {
	id := NewIdentity().ID()
	for b.Loop() {
		if err := id.Valid(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSeal(b *testing.B) {
	plaintext := make([]byte, 860)
	b.Run("key", func(b *testing.B) {
		k := NewKey()
		var dst []byte
		for b.Loop() {
			dst = k.Seal(dst[:0], nil, plaintext)
		}
	})
	b.Run("prekey", func(b *testing.B) {
		p := NewPrekey().Public()
		for b.Loop() {
			if _, err := p.Seal(nil, nil, plaintext); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("identity", func(b *testing.B) {
		id := NewIdentity().ID()
		for b.Loop() {
			if _, err := id.Seal(nil, nil, plaintext); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	plaintext := make([]byte, 860)
	b.Run("key", func(b *testing.B) {
		k := NewKey()
		sealed := k.Seal(nil, nil, plaintext)
		var dst []byte
		for b.Loop() {
			var err error
			if dst, err = k.Open(dst[:0], nil, sealed); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("key refuses", func(b *testing.B) {
		sealed, k := NewKey().Seal(nil, nil, plaintext), NewKey()
		for b.Loop() {
			if _, err := k.Open(nil, nil, sealed); err == nil {
				b.Fatal("opened")
			}
		}
	})
	b.Run("prekey", func(b *testing.B) {
		p := NewPrekey()
		sealed, err := p.Public().Seal(nil, nil, plaintext)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if _, err := p.Open(nil, nil, sealed); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("identity", func(b *testing.B) {
		i := NewIdentity()
		sealed, err := i.ID().Seal(nil, nil, plaintext)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if _, err := i.Open(nil, nil, sealed); err != nil {
				b.Fatal(err)
			}
		}
	})
}
