package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// size is a number of bytes as a flag.
type size int64

// units are what a size may end with, longest first.
func units() []struct {
	name  string
	bytes float64
} {
	return []struct {
		name  string
		bytes float64
	}{
		{"TiB", 1 << 40},
		{"GiB", 1 << 30},
		{"MiB", 1 << 20},
		{"KiB", 1 << 10},
		{"TB", 1e12},
		{"GB", 1e9},
		{"MB", 1e6},
		{"KB", 1e3},
		{"B", 1},
	}
}

// Set implements flag.Value: bytes, or a number with a unit in any case.
func (s *size) Set(text string) error {
	number, unit := strings.TrimSpace(text), 1.0
	for _, u := range units() {
		if n := len(number) - len(u.name); n > 0 && strings.EqualFold(number[n:], u.name) {
			number, unit = strings.TrimSpace(number[:n]), u.bytes
			break
		}
	}
	if n, err := strconv.ParseInt(number, 10, 64); err == nil && unit == 1 {
		if n < 0 {
			return fmt.Errorf("%q is less than nothing", text)
		}
		*s = size(n)
		return nil
	}
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || math.IsNaN(n) || n < 0 || n*unit >= math.MaxInt64 {
		return fmt.Errorf("%q is not a size, as 1000000, 500MB or 2GiB", text)
	}
	*s = size(n * unit)
	return nil
}

// String gives the size with the largest binary unit that leaves 1 or more.
func (s *size) String() string { return showSize(int64(*s)) }

func showSize(n int64) string {
	for _, u := range units() {
		if strings.HasSuffix(u.name, "iB") && float64(n) >= u.bytes {
			return strconv.FormatFloat(math.Round(float64(n)/u.bytes*10)/10, 'f', -1, 64) + " " + u.name
		}
	}
	return strconv.FormatInt(n, 10) + " B"
}
