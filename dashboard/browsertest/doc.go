// Package browsertest opens the dashboard in a headless Chromium. It is a module of its own,
// so that users of the library do not download what drives a browser.
//
// The tests are skipped if there is no Chromium on the PATH, unless
// RATELIMITER_TEST_CHROMIUM is "required". If RATELIMITER_TEST_PICTURES is a folder, the
// tests keep screenshots there.
package browsertest
