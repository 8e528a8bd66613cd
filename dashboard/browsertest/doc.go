// Package browsertest opens the dashboard in a headless Chromium. It is a module of its
// own, so that who uses the library need not download what drives a browser.
//
// The tests are skipped where there is no Chromium on the PATH, unless
// RATELIMITER_TEST_CHROMIUM says "required". Where RATELIMITER_TEST_PICTURES names a
// folder, they keep screenshots there.
package browsertest
