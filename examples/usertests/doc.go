// Package usertests holds the tests that docs/testing.md shows. It is a module of its own,
// so that they use nothing but what an application can use.
package usertests
