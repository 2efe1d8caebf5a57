package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/gocarrier/carrier"
)

const (
	service       = "quickstart/1"
	streamBytes   = 64 << 20
	datagrams     = 1000
	datagramBytes = 1000
	datagramEvery = 2 * time.Millisecond
	datagramsLeft = 990 // of them at least arrive
)

// stream: a link comes up; one reliable stream, datagrams, a second session.
func (s *story) stream(ctx context.Context) error {
	friend, err := s.alice.Friend(s.bobID)
	if err != nil {
		return err
	}
	listener, err := s.bob.ListenSessions(service, nil)
	if err != nil {
		return err
	}
	defer listener.Close()
	accepted := make(chan *carrier.Session, 2)
	go func() {
		for {
			request, err := listener.Accept(ctx)
			if err != nil {
				return
			}
			if session, err := request.Accept(); err == nil {
				accepted <- session
			}
		}
	}()

	session, err := friend.NewSession(ctx, service, nil)
	if err != nil {
		return err
	}
	path := friend.Path()
	s.line.step("link up: %v, %v ↔ %v; first session open", path.Kind, path.Local, path.Remote)
	theirs := <-accepted
	if err := s.reliable(ctx, session, theirs); err != nil {
		return fmt.Errorf("reliable stream: %w", err)
	}
	if err := s.datagram(ctx, session, theirs); err != nil {
		return fmt.Errorf("datagram stream: %w", err)
	}

	begun := time.Now()
	second, err := friend.NewSession(ctx, service, nil)
	if err != nil {
		return err
	}
	s.line.step("a second session opened in %v", time.Since(begun).Round(10*time.Microsecond))
	return errors.Join(second.Close(), session.Close())
}

// pair opens a stream at one end and accepts it at the other.
func pair(ctx context.Context, ours, theirs *carrier.Session, opts *carrier.StreamOptions) (a, b *carrier.Stream, err error) {
	if a, err = ours.OpenStream(ctx, opts); err != nil {
		return nil, nil, err
	}
	if b, err = theirs.AcceptStream(ctx); err != nil {
		return nil, nil, errors.Join(err, a.Close())
	}
	return a, b, nil
}

// reliable sends 64 MiB of noise and compares what arrives.
func (s *story) reliable(ctx context.Context, ours, theirs *carrier.Session) (err error) {
	a, b, err := pair(ctx, ours, theirs, &carrier.StreamOptions{Bulk: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close(), b.Close()) }()
	stop := context.AfterFunc(ctx, func() { _ = a.Close(); _ = b.Close() }) // ends the calls below
	defer stop()

	begun := time.Now()
	sent := make(chan hash.Hash, 1)
	failed := make(chan error, 1)
	go func() {
		sum := sha256.New()
		block := make([]byte, 1<<20)
		noise := rand.NewChaCha8([32]byte{1})
		for range streamBytes / len(block) {
			_, _ = noise.Read(block) // never fails
			sum.Write(block)
			if _, err := a.Write(block); err != nil {
				failed <- err
				return
			}
		}
		failed <- a.CloseWrite()
		sent <- sum
	}()
	got := sha256.New()
	n, err := io.Copy(io.MultiWriter(got, newBar(s.bar(), streamBytes)), b)
	if err != nil {
		return err
	}
	took := time.Since(begun)
	if err := <-failed; err != nil {
		return err
	}
	if n != streamBytes || !bytes.Equal(got.Sum(nil), (<-sent).Sum(nil)) {
		return fmt.Errorf("%d bytes came, and they are not the %d that were sent", n, streamBytes)
	}
	s.line.step("64 MiB by a reliable stream: %.0f MB/s, SHA-256 %x… at both ends", float64(n)/1e6/took.Seconds(), got.Sum(nil)[:4])
	return nil
}

// datagram sends numbered datagrams at a steady pace and checks what arrives.
func (s *story) datagram(ctx context.Context, ours, theirs *carrier.Session) error {
	a, b, err := pair(ctx, ours, theirs, &carrier.StreamOptions{Mode: carrier.Datagram})
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	got := map[uint64]int{}
	var bad error
	wg.Go(func() {
		buf := make([]byte, 2*datagramBytes)
		for {
			n, err := b.Read(buf)
			if err != nil {
				if !errors.Is(err, io.EOF) {
					bad = err
				}
				return
			}
			i := binary.BigEndian.Uint64(buf)
			if !bytes.Equal(buf[:n], numbered(i)) {
				bad = fmt.Errorf("datagram %d came changed", i)
			}
			got[i]++
		}
	})
	pace := time.NewTicker(datagramEvery)
	defer pace.Stop()
	for i := range uint64(datagrams) {
		select {
		case <-pace.C:
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), a.Close(), b.Close())
		}
		if _, err := a.Write(numbered(i)); err != nil {
			return errors.Join(err, a.Close(), b.Close())
		}
	}
	err = a.Close()
	wg.Wait()
	if err = errors.Join(err, bad, b.Close()); err != nil {
		return err
	}
	for i, n := range got {
		if n > 1 {
			return fmt.Errorf("datagram %d came %d times", i, n)
		}
	}
	if len(got) < datagramsLeft {
		return fmt.Errorf("%d of %d datagrams came, want at least %d", len(got), datagrams, datagramsLeft)
	}
	s.line.step("%d of %d datagrams of %d bytes, each once, content checked", len(got), datagrams, datagramBytes)
	return nil
}

// numbered is the content of a datagram.
func numbered(i uint64) []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, datagramBytes), i)
	for len(b) < datagramBytes {
		b = append(b, byte(i)+byte(len(b)))
	}
	return b
}

// bar draws progress on a terminal.
type bar struct {
	w           io.Writer // nil: none
	done, whole int64
	drawn       int
}

func newBar(w io.Writer, whole int64) *bar { return &bar{w: w, whole: whole, drawn: -1} }

// bar is where progress goes: standard output if it is a terminal.
func (s *story) bar() io.Writer {
	if info, err := os.Stdout.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
		return os.Stdout
	}
	return nil
}

const barWidth = 40

// Write counts.
func (b *bar) Write(p []byte) (int, error) {
	b.done += int64(len(p))
	if at := int(b.done * barWidth / b.whole); b.w != nil && at != b.drawn {
		b.drawn = at
		fmt.Fprintf(b.w, "\r           [%-*s] %3d %%", barWidth, fill(at), b.done*100/b.whole)
		if b.done == b.whole {
			fmt.Fprintf(b.w, "\r%*s\r", barWidth+20, "")
		}
	}
	return len(p), nil
}

func fill(n int) []byte { return bytes.Repeat([]byte{'='}, n) }
