package main

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"path/filepath"
	"strings"
)

// A mutant is the package with one operator changed.
type mutant struct {
	id         int // from 1
	file       string
	line       int
	column     int
	change     string // as "< to <="
	sourceLine string
}

func (m mutant) String() string {
	return fmt.Sprintf("%s:%d:%d  %s  | %s", m.file, m.line, m.column, m.change, m.sourceLine)
}

// instrumenter rewrites files so that they contain all their mutants. The environment
// variable MUTANT chooses one at run time, so one build serves them all.
type instrumenter struct {
	files   *token.FileSet
	info    *types.Info
	source  []byte
	mutants []mutant
}

// What replaces an operator with a boolean result.
var comparisons = map[token.Token][]token.Token{
	token.LSS:  {token.LEQ, token.GEQ},
	token.LEQ:  {token.LSS, token.GTR},
	token.GTR:  {token.GEQ, token.LEQ},
	token.GEQ:  {token.GTR, token.LSS},
	token.EQL:  {token.NEQ},
	token.NEQ:  {token.EQL},
	token.LAND: {token.LOR},
	token.LOR:  {token.LAND},
}

// The functions of switch.txt that replace an arithmetic operator.
var arithmetic = map[token.Token]struct {
	function string
	mutated  token.Token
}{
	token.ADD: {"mutantAdd", token.SUB},
	token.SUB: {"mutantSubtract", token.ADD},
	token.MUL: {"mutantMultiply", token.QUO},
	token.QUO: {"mutantDivide", token.MUL},
	token.REM: {"mutantRemainder", token.MUL},
}

// rewrite returns the source of node with all mutants in it.
func (in *instrumenter) rewrite(node ast.Node) string {
	switch n := node.(type) {
	case *ast.GenDecl:
		if n.Tok == token.CONST || n.Tok == token.TYPE {
			return in.text(n)
		}
	case *ast.BinaryExpr:
		if text, ok := in.rewriteBinary(n); ok {
			return text
		}
	case *ast.UnaryExpr:
		switch {
		case in.isConstant(n):
			return in.text(n)
		case n.Op == token.NOT:
			id := in.add(n.OpPos, "! removed")
			return fmt.Sprintf("(mutantIs(%d) == %s)", id, in.rewrite(n.X))
		case n.Op == token.SUB && in.isNumber(n):
			return fmt.Sprintf("mutantMinus(%d, %s)", in.add(n.OpPos, "- removed"), in.rewrite(n.X))
		}
	case *ast.IncDecStmt:
		if in.isNumber(n.X) {
			assigned, sign := in.text(n.X), n.Tok.String()[:1]
			id := in.add(n.TokPos, map[string]string{"+": "++ to --", "-": "-- to ++"}[sign])
			return fmt.Sprintf("%s %s= mutantNegate(%d, %s, 1)", assigned, sign, id, assigned)
		}
	case *ast.AssignStmt:
		if (n.Tok == token.ADD_ASSIGN || n.Tok == token.SUB_ASSIGN) && in.isNumber(n.Lhs[0]) {
			mutated := map[token.Token]string{token.ADD_ASSIGN: "-=", token.SUB_ASSIGN: "+="}[n.Tok]
			id := in.add(n.TokPos, n.Tok.String()+" to "+mutated)
			assigned := in.text(n.Lhs[0])
			return fmt.Sprintf("%s %s mutantNegate(%d, %s, %s)", assigned, n.Tok, id, assigned, in.rewrite(n.Rhs[0]))
		}
	case *ast.BranchStmt:
		if n.Tok == token.CONTINUE && n.Label == nil {
			return fmt.Sprintf("if mutantIs(%d) { break }; continue", in.add(n.TokPos, "continue to break"))
		}
	}
	return in.rewriteChildren(node)
}

func (in *instrumenter) rewriteBinary(n *ast.BinaryExpr) (string, bool) {
	if in.isConstant(n) {
		return in.text(n), true
	}
	if mutated := comparisons[n.Op]; mutated != nil && in.isPlainBool(n) && !in.recovers(n) {
		var b strings.Builder
		b.WriteString("func() bool { switch { ")
		for _, op := range mutated {
			id := in.add(n.OpPos, n.Op.String()+" to "+op.String())
			fmt.Fprintf(&b, "case mutantIs(%d): return (%s) %s (%s); ", id, in.text(n.X), op, in.text(n.Y))
		}
		fmt.Fprintf(&b, "}; return %s %s %s }()", in.rewrite(n.X), n.Op, in.rewrite(n.Y))
		return b.String(), true
	}
	if replaced, ok := arithmetic[n.Op]; ok && in.isNumber(n) {
		id := in.add(n.OpPos, n.Op.String()+" to "+replaced.mutated.String())
		return fmt.Sprintf("%s(%d, %s, %s)", replaced.function, id, in.rewrite(n.X), in.rewrite(n.Y)), true
	}
	return "", false
}

// rewriteChildren keeps the text between the children of a node.
func (in *instrumenter) rewriteChildren(node ast.Node) string {
	var b strings.Builder
	at := in.offset(node.Pos())
	ast.Inspect(node, func(child ast.Node) bool {
		switch child {
		case node:
			return true
		case nil:
			return false
		}
		_, isComment := child.(*ast.CommentGroup)
		// The type of a function begins at the word func, before its receiver.
		if begins := in.offset(child.Pos()); !isComment && begins >= at {
			b.Write(in.source[at:begins])
			b.WriteString(in.rewrite(child))
			at = in.offset(child.End())
		}
		return false
	})
	b.Write(in.source[at:in.offset(node.End())])
	return b.String()
}

// add lists one more mutant, and returns its number.
func (in *instrumenter) add(pos token.Pos, change string) int {
	at := in.files.Position(pos)
	line, _, _ := strings.Cut(string(in.source[at.Offset-at.Column+1:]), "\n")
	in.mutants = append(in.mutants, mutant{
		id: len(in.mutants) + 1, file: filepath.Base(at.Filename), line: at.Line, column: at.Column,
		change: change, sourceLine: strings.TrimSpace(line),
	})
	return len(in.mutants)
}

func (in *instrumenter) offset(pos token.Pos) int { return in.files.Position(pos).Offset }

func (in *instrumenter) text(n ast.Node) string {
	return string(in.source[in.offset(n.Pos()):in.offset(n.End())])
}

func (in *instrumenter) isConstant(e ast.Expr) bool { return in.info.Types[e].Value != nil }

// isNumber reports whether the functions of switch.txt take the type of e.
func (in *instrumenter) isNumber(e ast.Expr) bool {
	of := in.info.TypeOf(e)
	if of == nil {
		return false
	}
	if _, generic := of.(*types.TypeParam); generic {
		return false
	}
	basic, ok := of.Underlying().(*types.Basic)
	return ok && basic.Info()&(types.IsInteger|types.IsFloat) != 0
}

// recovers reports whether e calls recover, which does nothing in a function within the
// deferred one.
func (in *instrumenter) recovers(e ast.Expr) bool { return strings.Contains(in.text(e), "recover()") }

// isPlainBool reports whether a function that returns bool can replace e.
func (in *instrumenter) isPlainBool(e ast.Expr) bool {
	basic, ok := in.info.TypeOf(e).(*types.Basic)
	return ok && basic.Info()&types.IsBoolean != 0
}
