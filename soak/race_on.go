//go:build race

package main

// raceDetector reports whether the program was built with -race.
const raceDetector = true
