package traffic

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPathsMapToTheGivenTemplates(t *testing.T) {
	routes, err := NewRoutes([]string{"GET /users/:id", "/users/new", "GET /files/*path", "/"})
	require.NoError(t, err)
	for path, want := range map[string]string{
		"/users/7": "GET /users/:id", "/users/new": "GET /users/new", "/files/a/b": "GET /files/*path",
		"/": "GET /", "/users/7/x": "unmatched", "/users/": "unmatched", "": "unmatched", "*": "unmatched",
	} {
		require.Equal(t, want, string(routes.Append(nil, []byte("GET"), []byte(path))), path)
	}
	require.Equal(t, "unmatched", string(routes.Append(nil, []byte("POST"), []byte("/users/7"))))
	require.Equal(t, "POST /users/new", string(routes.Append(nil, []byte("POST"), []byte("/users/n%65w"))))
}

func TestTemplatesAreInferredFromSegmentsThatLookLikeIDs(t *testing.T) {
	routes, err := NewRoutes(nil)
	require.NoError(t, err)
	for path, want := range map[string]string{
		"/users/7/edit": "GET /users/:id/edit", "/deadbeef01": "GET /:id", "/decade": "GET /decade", "/facade": "GET /facade",
		"/a/123e4567-e89b-12d3-a456-426614174000": "GET /a/:id", "//": "GET //", "/v1/x": "GET /v1/x",
		"/orders/01ARZ3NDEKTSV4RRFFQ69G5FAV": "GET /orders/:id", "/orders/01arz3ndektsv4rrffq69g5fav/x": "GET /orders/:id/x",
		"/users/ann@example.com": "GET /users/:id", "/users/ann%40example.com": "GET /users/:id", "/@ann": "GET /@ann",
		"/abcdefghjkmnpqrstvwxyzabcd": "GET /abcdefghjkmnpqrstvwxyzabcd", "/-": "GET /-",
	} {
		require.Equal(t, want, string(routes.Append(nil, []byte("GET"), []byte(path))), path)
	}
}

func TestInvalidTemplatesAreRejected(t *testing.T) {
	_, err := NewRoutes([]string{"users/:id"})
	require.ErrorContains(t, err, `"users/:id" is not a route template`)
	_, err = NewRoutes([]string{"/users/:id", "/users/:name/edit"})
	require.ErrorContains(t, err, `the template "/users/:name/edit" is not valid in Gin`)
	_, err = NewRoutes([]string{"/users/:id", "GET /users/:id", "/users/:id"})
	require.NoError(t, err, "the same twice")
}
