// Package browsertest opens the dashboard in a headless Chromium. It is a module of its
// own, so that who uses the library need not download what drives a browser.
package browsertest
