package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gocarrier/carrier"
)

const (
	sendAtOnce  = 3   // files to one friend; the others wait in order
	maxOutgoing = 256 // files to all friends, with those that wait
)

// senders are the files on their way to friends.
type senders struct {
	show  func(event)
	spawn func(*sync.WaitGroup, func())

	mu     sync.Mutex
	count  int
	ending bool
	slots  map[carrier.ID]chan struct{}
	work   sync.WaitGroup
}

func newSenders(show func(event), spawn func(*sync.WaitGroup, func())) *senders {
	return &senders{show: show, spawn: spawn, slots: map[carrier.ID]chan struct{}{}}
}

// send begins to send a file; its end is shown. The error says why it is not even
// begun. When ctx ends the file is given up.
func (s *senders) send(ctx context.Context, to *carrier.Friend, path string) error {
	info, err := os.Stat(path) // before the Open, which would wait at a pipe
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a file", path)
	case !to.Online():
		return fmt.Errorf("%w; files go to those who are there", carrier.ErrOffline)
	}
	t := &transfer{peer: to.ID(), name: filepath.Base(path), show: s.show}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ending:
		return errEnding
	case s.count == maxOutgoing:
		return fmt.Errorf("%d files are being sent; wait for one to end", s.count)
	}
	slot := s.slots[to.ID()]
	if slot == nil {
		slot = make(chan struct{}, sendAtOnce)
		s.slots[to.ID()] = slot
	}
	s.count++
	s.spawn(&s.work, func() {
		defer s.left()
		select {
		case slot <- struct{}{}:
			defer func() { <-slot }()
			s.one(ctx, t, to, path)
		case <-ctx.Done():
			t.failed(ctx, nil, ctx.Err())
		}
	})
	return nil
}

func (s *senders) left() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count--
}

// wait returns when all files have ended. None begins any more.
func (s *senders) wait() {
	s.mu.Lock()
	s.ending = true
	s.mu.Unlock()
	s.work.Wait()
}

// one sends one file and shows its end.
func (s *senders) one(ctx context.Context, t *transfer, to *carrier.Friend, path string) {
	file, err := os.Open(path)
	if err != nil {
		t.failed(ctx, nil, err)
		return
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		t.failed(ctx, nil, err)
		return
	}
	t.size = info.Size() // what is added meanwhile is not sent
	session, err := t.ask(ctx, to)
	if err != nil {
		t.failed(ctx, nil, err)
		return
	}
	defer session.Close()
	stop := context.AfterFunc(ctx, func() { session.Abort(errEnding.Error()) })
	defer stop()
	sum, err := t.push(ctx, session, file)
	t.over()
	if err != nil {
		t.failed(ctx, session, err)
		return
	}
	s.show(fileSent{t.peer, t.name, t.size, sum})
}

// ask offers the file, and returns the session when the friend takes it.
func (t *transfer) ask(ctx context.Context, to *carrier.Friend) (*carrier.Session, error) {
	metadata, err := offer{t.name, t.size}.encode()
	if err != nil {
		return nil, err
	}
	limit, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	session, err := to.NewSession(limit, fileService, &carrier.SessionOptions{Metadata: metadata, Streams: 1, NoWait: true})
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("no way to the friend was found in %v", openTime)
	}
	return session, err
}

// push writes the content and its sum, and returns when the friend has it all.
func (t *transfer) push(ctx context.Context, session *carrier.Session, file io.Reader) (sum [sha256.Size]byte, err error) {
	stream, err := session.OpenStream(ctx, &carrier.StreamOptions{Bulk: true})
	if err != nil {
		return sum, err
	}
	defer stream.Close()
	hash := sha256.New()
	block := make([]byte, blockSize)
	for done := int64(0); done < t.size; {
		n, err := file.Read(block[:min(blockSize, t.size-done)])
		if errors.Is(err, io.EOF) && n == 0 {
			return sum, errors.New("the file has become shorter")
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return sum, err
		}
		hash.Write(block[:n])
		if err := write(stream, block[:n]); err != nil {
			return sum, err
		}
		done += int64(n)
		t.moved(done)
	}
	sum = [sha256.Size]byte(hash.Sum(nil))
	if err := write(stream, sum[:]); err != nil {
		return sum, err
	}
	if err := stream.CloseWrite(); err != nil {
		return sum, err
	}
	return sum, confirm(stream, sum)
}

// confirm waits for the friend to say that it has what has this sum.
func confirm(stream *carrier.Stream, sum [sha256.Size]byte) error {
	if err := stream.SetReadDeadline(time.Now().Add(answerTime)); err != nil {
		return err
	}
	var answer [sha256.Size]byte
	switch _, err := io.ReadFull(stream, answer[:]); {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the friend has not said that it has it")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("the friend has not said in %v that it has it", answerTime)
	case err != nil:
		return err
	case answer != sum:
		return errors.New("the friend has got something else")
	}
	return nil
}

// write writes all, as long as it moves.
func write(stream *carrier.Stream, b []byte) error {
	if err := stream.SetWriteDeadline(time.Now().Add(stallTime)); err != nil {
		return err
	}
	_, err := stream.Write(b)
	return err
}
