package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/gocarrier/carrier"
)

const (
	takeOfOne = 2*sendAtOnce + 2 // files of one friend at once: a sender begins the next ones while we end
	takeOfAll = 64
)

// takers are the files that come from friends.
type takers struct {
	shelf *shelf
	max   int64
	show  func(event)
	spawn func(*sync.WaitGroup, func())

	mu    sync.Mutex
	of    map[carrier.ID]int
	total int
}

func newTakers(s *shelf, maxFile int64, show func(event), spawn func(*sync.WaitGroup, func())) *takers {
	return &takers{shelf: s, max: maxFile, show: show, spawn: spawn, of: map[carrier.ID]int{}}
}

// run takes what friends offer until ctx ends, and returns when all has ended.
func (k *takers) run(ctx context.Context, listener *carrier.SessionListener) {
	var work sync.WaitGroup
	defer work.Wait()
	for {
		request, err := listener.Accept(ctx)
		if err != nil {
			return
		}
		k.answer(ctx, &work, request)
	}
}

// answer accepts a file, or refuses it with the reason.
func (k *takers) answer(ctx context.Context, work *sync.WaitGroup, request *carrier.SessionRequest) {
	t := &transfer{peer: request.Friend().ID(), show: k.show}
	o, err := parseOffer(request.Metadata())
	t.name, t.size = cleanName(o.Name), o.Size
	if err == nil && o.Size > k.max {
		err = fmt.Errorf("it has %d bytes, and no more than %d are taken", o.Size, k.max)
	}
	if err == nil {
		err = k.enter(t.peer)
	}
	if err != nil {
		_ = request.Refuse(reason(err)) // or it is withdrawn
		t.failed(ctx, nil, err)
		return
	}
	session, err := request.Accept()
	if err != nil {
		k.leave(t.peer)
		t.failed(ctx, nil, err)
		return
	}
	k.spawn(work, func() {
		defer k.leave(t.peer)
		k.one(ctx, t, session)
	})
}

// enter counts a file of a friend in.
func (k *takers) enter(id carrier.ID) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.of[id] >= takeOfOne || k.total >= takeOfAll {
		return errors.New("too many files at once; send it again later")
	}
	k.of[id]++
	k.total++
	return nil
}

func (k *takers) leave(id carrier.ID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.total--
	if k.of[id]--; k.of[id] == 0 {
		delete(k.of, id)
	}
}

// one takes one file and shows its end. Nothing of it is left then if it failed.
func (k *takers) one(ctx context.Context, t *transfer, session *carrier.Session) {
	stop := context.AfterFunc(ctx, func() { session.Abort(errEnding.Error()) })
	defer stop()
	defer session.Close()
	k.show(fileBegun{t.peer, t.name, t.size})
	if err := k.take(ctx, t, session); err != nil {
		t.failed(ctx, session, err)
	}
}

// take puts what comes on the shelf, shows that, and tells the friend.
func (k *takers) take(ctx context.Context, t *transfer, session *carrier.Session) error {
	partial, err := k.shelf.begin()
	if err != nil {
		return err
	}
	defer partial.discard()
	stream, err := accept(ctx, session)
	if err != nil {
		return err
	}
	defer stream.Close()
	sum, err := t.pull(partial, stream)
	t.over()
	if err != nil {
		return err
	}
	path, err := partial.keep(t.name)
	if err != nil {
		return err
	}
	k.show(fileReceived{t.peer, path, t.size, sum})
	// It is here, whether or not the friend still hears that.
	if write(stream, sum[:]) == nil && stream.CloseWrite() == nil {
		within(session.Done(), endTime)
	}
	return nil
}

func accept(ctx context.Context, session *carrier.Session) (*carrier.Stream, error) {
	limit, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	stream, err := session.AcceptStream(limit)
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("nothing has come in %v", openTime)
	}
	return stream, err
}

// pull writes the content to the file, and returns its sum, which is what the
// friend says it is.
func (t *transfer) pull(file io.Writer, stream *carrier.Stream) (sum [sha256.Size]byte, err error) {
	hash := sha256.New()
	block := make([]byte, blockSize)
	for done := int64(0); done < t.size; {
		n, err := read(stream, block[:min(blockSize, t.size-done)])
		if err != nil {
			return sum, err
		}
		hash.Write(block[:n])
		if _, err := file.Write(block[:n]); err != nil {
			return sum, err
		}
		done += int64(n)
		t.moved(done)
	}
	for n := 0; n < len(sum); {
		m, err := read(stream, block[n:len(sum)])
		if err != nil {
			return sum, err
		}
		n += m
	}
	if want := hash.Sum(nil); !bytes.Equal(want, block[:len(sum)]) {
		return sum, errors.New("its SHA-256 is not what the sender says")
	}
	return [sha256.Size]byte(block), nil
}

// read reads some, as long as it moves.
func read(stream *carrier.Stream, b []byte) (int, error) {
	if err := stream.SetReadDeadline(time.Now().Add(stallTime)); err != nil {
		return 0, err
	}
	n, err := stream.Read(b)
	if errors.Is(err, io.EOF) {
		err = errors.New("the friend has sent less than it said")
	}
	if n > 0 {
		err = nil // it comes again
	}
	return n, err
}
