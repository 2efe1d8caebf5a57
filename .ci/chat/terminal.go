package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"
)

// terminal has somebody type on a real terminal, that of tmux, while messages come in.
func terminal(l *lab) (err error) {
	c, err := l.begin()
	if err != nil {
		return err
	}
	if _, err := c.alice.quit(); err != nil { // she goes on at the terminal
		return err
	}
	s, err := l.openScreen()
	if err != nil {
		return err
	}
	if err := s.start(100, 30, c.alice); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			s.print()
		}
		err = errors.Join(err, s.stop())
	}()

	t := &typist{lab: l, screen: s, bob: c.bob, aliceID: c.aliceID, bobID: c.bobID}
	steps := []func() error{t.firstLine, t.whileMessagesCome, t.editing, t.resized, t.path, t.progress}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	// Ctrl-C with something typed; Ctrl-D with nothing, in another life.
	if err := s.write("this is never sent"); err != nil {
		return err
	}
	if err := s.typing(t.prompt, "this is never sent"); err != nil {
		return err
	}
	if err := s.press("C-c"); err != nil {
		return err
	}
	interrupted, err := s.over()
	if err != nil {
		return fmt.Errorf("Ctrl-C: %w", err)
	}
	from := c.bob.mark()
	if err := s.start(80, 24, c.alice); err != nil {
		return err
	}
	if _, err := c.bob.await(from, netLimit, "friend", c.aliceID, "online"); err != nil {
		return err
	}
	if err := s.press("C-d"); err != nil {
		return err
	}
	ended, err := s.over()
	if err != nil {
		return fmt.Errorf("Ctrl-D: %w", err)
	}
	l.say("Ctrl-C ends in %.1f s, Ctrl-D in %.1f s, with status 0 and the terminal as it was", interrupted.Seconds(), ended.Seconds())
	for _, line := range c.bob.record(0) {
		if strings.Contains(line.text, "never sent") {
			return fmt.Errorf("what was interrupted was sent: %q", line.text)
		}
	}
	_, err = c.bob.quit()
	return err
}

// typist is Alice at her terminal, and Bob at his pipes.
type typist struct {
	lab            *lab
	screen         *screen
	bob            *actor
	aliceID, bobID string
	prompt         string // what stands before what is typed
	incoming       int
}

// enter types text, presses Enter, and waits until Bob is shown what it is to be.
func (t *typist) enter(typed, want string) error {
	from := t.bob.mark()
	if err := t.screen.write(typed); err != nil {
		return err
	}
	if err := t.screen.press("Enter"); err != nil {
		return err
	}
	return t.arrives(from, want)
}

func (t *typist) arrives(from int, want string) error {
	got, err := t.bob.await(from, netLimit, "message", t.aliceID)
	if err != nil {
		return err
	}
	if text := got.fields[3]; text != want {
		return fmt.Errorf("typed was %q, and Bob is shown %q", want, text)
	}
	return nil
}

// say has Bob send a message, and returns its text, which is like no other.
func (t *typist) say() (string, error) {
	t.incoming++
	text := fmt.Sprintf("<incoming %03d>", t.incoming)
	return text, t.bob.tell("/msg %s %s", t.aliceID, text)
}

// alone waits until the texts stand on lines of their own, once each, that have
// nothing of what is typed.
func (t *typist) alone(texts []string, typed string) error {
	for _, text := range texts {
		var why string
		lines, err := t.screen.await(netLimit, text, func(lines []string) bool {
			var found []string
			for _, line := range lines {
				if strings.Contains(line, text) {
					found = append(found, line)
				}
			}
			why = fmt.Sprintf("%q", found)
			return len(found) == 1 && strings.HasSuffix(found[0], text) && (typed == "" || !strings.Contains(found[0], typed))
		})
		if err != nil {
			return fmt.Errorf("%w on a line of its own, but %s; the last line is %q", err, why, last(lines))
		}
	}
	return nil
}

// firstLine has a first message go each way, and learns the prompt.
func (t *typist) firstLine() error {
	if err := t.enter("/msg "+t.bobID+" the first line", "the first line"); err != nil {
		return err
	}
	text, err := t.say()
	if err != nil {
		return err
	}
	if err := t.alone([]string{text}, ""); err != nil {
		return err
	}
	if err := t.lab.pause(500 * time.Millisecond); err != nil { // for whatever else is shown now and then
		return err
	}
	lines, err := t.screen.shows()
	if err != nil {
		return err
	}
	t.prompt = last(lines)
	if len(t.prompt) > 40 || strings.Contains(t.prompt, text) {
		return fmt.Errorf("there is no prompt below what came in; the last line is %q", t.prompt)
	}
	// How many spaces it ends with is seen when something is typed behind it.
	if err := t.screen.write("x"); err != nil {
		return err
	}
	lines, err = t.screen.await(soon, "an x after the prompt", func(lines []string) bool { return strings.HasSuffix(last(lines), "x") })
	if err != nil {
		return err
	}
	t.prompt = strings.TrimSuffix(last(lines), "x")
	if err := t.screen.press("BSpace"); err != nil {
		return err
	}
	return t.screen.typing(t.prompt, "")
}

// whileMessagesCome types a line a few keys at a time, with messages in between.
func (t *typist) whileMessagesCome() error {
	const line = "all of this line is typed while messages come in, žluť and all, and it stays whole"
	var texts []string
	from := t.bob.mark()
	typed := ""
	for i, key := range line {
		if err := t.screen.write(string(key)); err != nil {
			return err
		}
		typed = line[:i+len(string(key))]
		if i%3 == 0 {
			text, err := t.say()
			if err != nil {
				return err
			}
			texts = append(texts, text)
		}
		if i%20 == 19 {
			if err := t.alone(texts, typed[:8]); err != nil {
				return err
			}
			if err := t.screen.typing(t.prompt, typed); err != nil {
				return err
			}
		}
	}
	if err := t.alone(texts, line[:8]); err != nil {
		return err
	}
	if err := t.screen.typing(t.prompt, line); err != nil {
		return err
	}
	if err := t.screen.press("Enter"); err != nil {
		return err
	}
	if err := t.arrives(from, line); err != nil {
		return err
	}
	t.lab.say("a line of %d keys stays whole while %d messages come in", len([]rune(line)), len(texts))
	return t.screen.typing(t.prompt, "")
}

// editing moves, deletes and takes from the history.
func (t *typist) editing() error {
	from := t.bob.mark()
	for _, step := range []struct {
		text string
		keys []string
	}{
		{text: "woXrld"}, {keys: []string{"Left", "Left", "Left", "BSpace"}}, {keys: []string{"C-a"}}, {text: "hello "}, {keys: []string{"C-e"}}, {text: "!"},
	} {
		var err error
		if step.text != "" {
			err = t.screen.write(step.text)
		} else {
			err = t.screen.press(step.keys...)
		}
		if err != nil {
			return err
		}
	}
	if err := t.screen.typing(t.prompt, "hello world!"); err != nil {
		return err
	}
	if err := t.screen.press("Enter"); err != nil {
		return err
	}
	if err := t.arrives(from, "hello world!"); err != nil {
		return err
	}
	from = t.bob.mark()
	if err := t.screen.press("Up"); err != nil {
		return err
	}
	if err := t.screen.typing(t.prompt, "hello world!"); err != nil {
		return err
	}
	if err := t.screen.press("BSpace", "?", "Enter"); err != nil {
		return err
	}
	if err := t.arrives(from, "hello world?"); err != nil {
		return err
	}
	t.lab.say("keys that move, delete and recall do so")
	return nil
}

// resized changes the terminal's size in the middle of a line.
func (t *typist) resized() error {
	from := t.bob.mark()
	const first, second, third = "begun on a wide screen, ", "gone on with on a narrow one that it does not fit into, ", "and ended on another"
	typed := ""
	for _, step := range []struct {
		width, height int
		text          string
	}{{0, 0, first}, {60, 20, second}, {110, 25, third}} {
		if step.width > 0 {
			if _, err := t.screen.do("resize-window", "-t", t.screen.name(), "-x", fmt.Sprint(step.width), "-y", fmt.Sprint(step.height)); err != nil {
				return err
			}
			if err := t.lab.pause(200 * time.Millisecond); err != nil { // for the signal to arrive
				return err
			}
		}
		if err := t.screen.write(step.text); err != nil {
			return err
		}
		typed += step.text
		// What comes in while the line takes several rows must find all of them.
		for range 3 {
			text, err := t.say()
			if err != nil {
				return err
			}
			if err := t.alone([]string{text}, first[:8]); err != nil {
				return err
			}
		}
		want := unspaced(t.prompt + typed)
		lines, err := t.screen.await(soon, fmt.Sprintf("%q once, at its end", typed), func(lines []string) bool {
			shown := unspaced(strings.Join(lines, ""))
			return strings.HasSuffix(shown, want) && strings.Count(shown, unspaced(first)) == 1
		})
		if err != nil {
			return fmt.Errorf("%w at %d columns, but %q", err, step.width, lines[max(0, len(lines)-12):])
		}
	}
	if err := t.screen.press("Enter"); err != nil {
		return err
	}
	if err := t.arrives(from, typed); err != nil {
		return err
	}
	t.lab.say("a line of %d keys stays whole while the terminal gets narrow and wide, and messages come in", len(typed))
	return t.screen.typing(t.prompt, "")
}

// unspaced is a text without the spaces that a wrapped line loses.
func unspaced(text string) string { return strings.ReplaceAll(text, " ", "") }

// path looks for the way and the round trip to Bob.
func (t *typist) path() error {
	if err := t.screen.write("/friends"); err != nil {
		return err
	}
	if err := t.screen.press("Enter"); err != nil {
		return err
	}
	want := regexp.MustCompile(`(?m)\b(lan|direct)\b.*\d ?(µs|ms)\b`)
	lines, err := t.screen.await(soon, "the way and the round trip to Bob", func(lines []string) bool { return want.MatchString(strings.Join(lines, "\n")) })
	if err != nil {
		return err
	}
	for _, line := range lines {
		if want.MatchString(line) {
			t.lab.say("/friends shows: %s", strings.TrimSpace(line))
		}
	}
	return nil
}

// progress sends a file, and looks at all that was written to the terminal.
func (t *typist) progress() error {
	path, sum, err := t.lab.file("film.bin", bigFile)
	if err != nil {
		return err
	}
	from := t.bob.mark()
	if err := t.screen.write("/send " + t.bobID + " " + path); err != nil {
		return err
	}
	if err := t.screen.press("Enter"); err != nil {
		return err
	}
	if err := t.screen.write("typed while a file is sent"); err != nil {
		return err
	}
	got, err := t.bob.await(from, fileLimit, "received", t.aliceID)
	if err != nil {
		return err
	}
	if got.fields[3] != sum {
		return fmt.Errorf("the file was received with SHA-256 %s, want %s", got.fields[3], sum)
	}
	if err := t.screen.typing(t.prompt, "typed while a file is sent"); err != nil {
		return err
	}
	raw, err := os.ReadFile(t.screen.path("raw"))
	if err != nil {
		return err
	}
	steps := map[string]bool{}
	for _, m := range regexp.MustCompile(`\d+ ?%`).FindAll(raw, -1) {
		steps[string(m)] = true
	}
	if len(steps) < 2 {
		return fmt.Errorf("while a file was sent the terminal showed %d steps of its progress, want several", len(steps))
	}
	if !bytes.Contains(raw, []byte("\x1b[3")) && !bytes.Contains(raw, []byte("\x1b[1")) && !bytes.Contains(raw, []byte("\x1b[9")) {
		return errors.New("there were no colours on the terminal")
	}
	if err := t.screen.press("C-u"); err != nil {
		return err
	}
	if err := t.screen.typing(t.prompt, ""); err != nil {
		return err
	}
	t.lab.say("a file shows %d steps of its progress and leaves what is typed alone; there are colours", len(steps))
	return nil
}
