//! Parses the text of a query: folds names, bounds the depth, and works around faults of DataFusion and its parser.
//!
//! Constructs that DataFusion or its parser would answer wrongly are rewritten (`IS DISTINCT FROM`, `LIKE … ESCAPE`,
//! `DATE_FORMAT`, duplicate output columns) or refused with the reason (`SIMILAR TO`, `TABLESAMPLE`, `EXCEPT ALL`).
//! Identifiers are folded like the names of tables, quoted or not. Parsing, planning and dropping a statement recurse as
//! deep as the statement is nested. The depth is therefore bounded before parsing, for every kind of nesting and chain.

use crate::error::{Error, Result};
use crate::table::fold;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    self, BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, SelectItem, SetExpr, Value,
    Visit, VisitMut, Visitor, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};
use std::collections::HashSet;
use std::ops::ControlFlow;

/// The greatest depth of a statement: operators in a chain, nested calls and subqueries, joined tables, united queries.
pub(crate) const MAX_DEPTH: usize = 1000;
/// Tokens of a statement.
const MAX_TOKENS: usize = 2_000_000;

/// Parses one query. The labels are those of the outermost SELECT as written, if it names all its columns.
pub(crate) fn parse(sql: &str) -> Result<(Statement, Option<Vec<String>>)> {
    let wrong = |e: &dyn std::fmt::Display| Error::Sql(format!("cannot parse the query: {e}"));
    let dialect = GenericDialect {};
    let written = Tokenizer::new(&dialect, sql).tokenize_with_location().map_err(|e| wrong(&e))?;
    check_depth(&written)?;
    let written = distinct_from(written)?;
    let folded: Vec<TokenWithSpan> = written
        .iter()
        .cloned()
        .map(|mut token| {
            if let Token::Word(word) = &mut token.token
                && (word.quote_style.is_some() || !word.value.is_ascii())
            {
                word.value = fold(&word.value);
            }
            token
        })
        .collect();
    let statements = |tokens| Parser::new(&dialect).with_tokens_with_locations(tokens).parse_statements();
    let mut parsed = statements(folded).map_err(|e| wrong(&e))?;
    let mut statement = match (parsed.pop(), parsed.is_empty()) {
        (Some(statement @ ast::Statement::Query(_)), true) => statement,
        (Some(_), true) => return Err(Error::Sql("only SELECT queries are answered".into())),
        (None, _) => return Err(Error::Sql("the query is empty".into())),
        (Some(_), false) => return Err(Error::Sql("send one query at a time".into())),
    };
    if let ControlFlow::Break(error) = Visit::visit(&statement, &mut Subqueries::default()) {
        return Err(error);
    }
    mend(&mut statement)?;
    if let ast::Statement::Query(query) = &mut statement {
        tell_apart(&mut query.body);
    }
    let labels = match statements(written).map_err(|e| wrong(&e))?.pop() {
        Some(mut statement) => {
            named_as_written(&mut statement);
            match &statement {
                ast::Statement::Query(query) => labels(&query.body),
                _ => None,
            }
        }
        None => None,
    };
    Ok((Statement::Statement(Box::new(statement)), labels))
}

fn labels(body: &SetExpr) -> Option<Vec<String>> {
    match body {
        SetExpr::Select(select) => select
            .projection
            .iter()
            .map(|item| match item {
                SelectItem::ExprWithAlias { alias, .. } => Some(alias.value.clone()),
                SelectItem::UnnamedExpr(Expr::Identifier(name)) => Some(name.value.clone()),
                SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => parts.last().map(|name| name.value.clone()),
                SelectItem::UnnamedExpr(other) => Some(other.to_string()),
                _ => None,
            })
            .collect(),
        SetExpr::Query(query) => labels(&query.body),
        SetExpr::SetOperation { left, .. } => labels(left),
        _ => None,
    }
}

/// Bounds the depth of a statement by its tokens. In each pair of parentheses (or CASE … END), the part between two commas
/// is at most as deep as it has operators and keywords. Joins, united queries and WITH make chains that span commas.
fn check_depth(tokens: &[TokenWithSpan]) -> Result<()> {
    #[derive(Default)]
    struct Level {
        /// Operators since the last comma.
        chain: usize,
        /// Joined tables, united queries, common table expressions, and items chained by commas.
        fixed: usize,
        in_from: bool,
        in_with: bool,
    }
    if tokens.len() > MAX_TOKENS {
        return Err(Error::Sql(format!("the query has more than {MAX_TOKENS} words; split it")));
    }
    let mut levels = vec![Level::default()];
    let mut outer = 0;
    let mut at = 0;
    for token in tokens {
        let opens = matches!(&token.token, Token::LParen | Token::LBracket | Token::LBrace)
            || matches!(&token.token, Token::Word(w) if w.keyword == Keyword::CASE && w.quote_style.is_none());
        let closes = matches!(&token.token, Token::RParen | Token::RBracket | Token::RBrace)
            || matches!(&token.token, Token::Word(w) if w.keyword == Keyword::END && w.quote_style.is_none());
        let depth = levels.len();
        let Some(level) = levels.last_mut() else { break };
        if opens {
            // A chain of calls or subscripts nests the part before it, too.
            level.chain += 1;
            outer += level.chain + level.fixed;
            levels.push(Level::default());
        } else if closes && depth > 1 {
            levels.pop();
            if let Some(level) = levels.last() {
                outer -= level.chain + level.fixed;
            }
        } else {
            match &token.token {
                Token::Whitespace(_) | Token::Number(..) | Token::SingleQuotedString(_) | Token::Period => {}
                Token::SemiColon => *level = Level::default(),
                Token::Comma if level.in_from || level.in_with => level.fixed += 1,
                Token::Comma => level.chain = 0,
                Token::Word(word) if word.quote_style.is_none() => match word.keyword {
                    Keyword::NoKeyword => {}
                    Keyword::WITH => level.in_with = true,
                    Keyword::SELECT => {
                        level.chain = 0;
                        (level.in_from, level.in_with) = (false, false);
                    }
                    Keyword::FROM => {
                        level.chain += 1;
                        level.in_from = true;
                    }
                    Keyword::WHERE | Keyword::GROUP | Keyword::HAVING | Keyword::ORDER | Keyword::LIMIT => {
                        level.chain = 0;
                        level.in_from = false;
                    }
                    Keyword::JOIN | Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT | Keyword::MINUS => {
                        level.chain = 0;
                        level.fixed += 1;
                    }
                    Keyword::ON | Keyword::WHEN | Keyword::THEN | Keyword::ELSE => level.chain = 0,
                    _ => level.chain += 1,
                },
                Token::Word(_) => {}
                _ => level.chain += 1,
            }
        }
        let level = levels.last().map_or(0, |l| l.chain + l.fixed);
        at = at.max(outer + level + levels.len());
    }
    if at > MAX_DEPTH {
        return Err(Error::Sql(format!(
            "the query is too deep: about {at} levels of nested or chained operators, calls, joins or queries, at most \
             {MAX_DEPTH} are allowed; use IN for a list of values, or split it"
        )));
    }
    Ok(())
}

/// Operators that replace `IS DISTINCT FROM` and `IS NOT DISTINCT FROM` while a statement is parsed. The parser gives these
/// two no precedence on the right: it reads `a IS DISTINCT FROM b AND c` as `a IS DISTINCT FROM (b AND c)`.
const DISTINCT: (Token, BinaryOperator) = (Token::ExclamationMarkTildeAsterisk, BinaryOperator::PGRegexNotIMatch);
const NOT_DISTINCT: (Token, BinaryOperator) =
    (Token::ExclamationMarkDoubleTildeAsterisk, BinaryOperator::PGNotILikeMatch);

fn distinct_from(tokens: Vec<TokenWithSpan>) -> Result<Vec<TokenWithSpan>> {
    if tokens.iter().any(|t| t.token == DISTINCT.0 || t.token == NOT_DISTINCT.0) {
        return Err(Error::Sql("the operators !~* and !~~* are not supported; use NOT with LOWER and LIKE".into()));
    }
    let is = |token: Option<&TokenWithSpan>, keyword| matches!(token.map(|t| &t.token), Some(Token::Word(w)) if w.keyword == keyword && w.quote_style.is_none());
    let words: Vec<TokenWithSpan> = tokens.into_iter().filter(|t| !matches!(t.token, Token::Whitespace(_))).collect();
    let mut result = Vec::with_capacity(words.len());
    let mut i = 0;
    while i < words.len() {
        let negated = usize::from(is(words.get(i + 1), Keyword::NOT));
        if is(words.get(i), Keyword::IS)
            && is(words.get(i + 1 + negated), Keyword::DISTINCT)
            && is(words.get(i + 2 + negated), Keyword::FROM)
        {
            let token = if negated == 1 { NOT_DISTINCT.0 } else { DISTINCT.0 };
            result.push(TokenWithSpan { token, span: words[i].span });
            i += 3 + negated;
        } else {
            result.push(words[i].clone());
            i += 1;
        }
    }
    Ok(result)
}

/// Restores `IS DISTINCT FROM`.
fn distinct_expr(expr: &mut Expr) -> Result<()> {
    let Expr::BinaryOp { left, op, right } = expr else { return Ok(()) };
    if *op == DISTINCT.1 || *op == NOT_DISTINCT.1 {
        let placeholder = || Box::new(Expr::Value(Value::Null.with_empty_span()));
        let (left, right) = (std::mem::replace(left, placeholder()), std::mem::replace(right, placeholder()));
        *expr = match *op == DISTINCT.1 {
            true => Expr::IsDistinctFrom(left, right),
            false => Expr::IsNotDistinctFrom(left, right),
        };
        return Ok(());
    }
    use BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    if matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq)
        && matches!(**left, Expr::IsDistinctFrom(..) | Expr::IsNotDistinctFrom(..))
    {
        return Err(Error::Sql("put parentheses around IS DISTINCT FROM or around what is compared".into()));
    }
    Ok(())
}

struct Mender;

impl VisitorMut for Mender {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut ast::Query) -> ControlFlow<Error> {
        match multisets(&query.body) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }

    fn pre_visit_table_factor(&mut self, factor: &mut ast::TableFactor) -> ControlFlow<Error> {
        match factor {
            ast::TableFactor::Table { sample: Some(_), .. } | ast::TableFactor::Derived { sample: Some(_), .. } => {
                ControlFlow::Break(Error::Sql("TABLESAMPLE is not supported".into()))
            }
            _ => ControlFlow::Continue(()),
        }
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        let mended = distinct_expr(expr).and_then(|()| match expr {
            Expr::SimilarTo { .. } => Err(Error::Sql("SIMILAR TO is not supported; use LIKE".into())),
            Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. } => {
                escaped(pattern, escape_char)
            }
            Expr::Function(function) => date_format(function),
            Expr::Value(_) => large_integer(expr),
            _ => Ok(()),
        });
        match mended {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

/// Finds `IN (SELECT …)` in places where the engine answers wrongly. The engine treats its NULL as FALSE, which is right
/// only where both mean the same.
#[derive(Default)]
struct Subqueries {
    /// Addresses of those in places where NULL means FALSE.
    fine: HashSet<usize>,
}

impl Subqueries {
    /// Visits a condition whose NULL means FALSE. `top` is true as long as only AND is above it.
    fn condition(&mut self, expr: &Expr, top: bool) {
        match expr {
            Expr::Nested(inner) => self.condition(inner, top),
            Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
                self.condition(left, top);
                self.condition(right, top);
            }
            Expr::BinaryOp { left, op: BinaryOperator::Or, right } => {
                self.condition(left, false);
                self.condition(right, false);
            }
            Expr::UnaryOp { op: ast::UnaryOperator::Not, expr } => {
                if let Expr::InSubquery { expr: value, negated: false, .. } = without_parentheses(expr)
                    && top
                    && !is_constant(value)
                {
                    self.fine.insert(std::ptr::from_ref(without_parentheses(expr)) as usize);
                }
            }
            Expr::InSubquery { expr: value, negated, .. } if !negated || (top && !is_constant(value)) => {
                self.fine.insert(std::ptr::from_ref(expr) as usize);
            }
            _ => {}
        }
    }
}

fn without_parentheses(expr: &Expr) -> &Expr {
    match expr {
        Expr::Nested(inner) => without_parentheses(inner),
        other => other,
    }
}

impl Visitor for Subqueries {
    type Break = Error;

    fn pre_visit_select(&mut self, select: &ast::Select) -> ControlFlow<Error> {
        for condition in select.selection.iter().chain(&select.having) {
            self.condition(condition, true);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Error> {
        match expr {
            Expr::InSubquery { expr: value, negated, .. }
                if !self.fine.contains(&(std::ptr::from_ref(expr) as usize)) =>
            {
                let problem = match (is_constant(value), negated) {
                    (true, _) => "a constant IN (SELECT …) is supported only in WHERE, without NOT; use EXISTS",
                    (false, true) => {
                        "NOT IN (SELECT …) is supported only as a condition of WHERE that AND joins with others; use \
                         NOT EXISTS"
                    }
                    (false, false) => {
                        "IN (SELECT …) is supported only in WHERE, under AND and OR; use EXISTS or a join"
                    }
                };
                ControlFlow::Break(Error::Sql(problem.into()))
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

/// Whether an expression is a constant, maybe cast. For a constant that is not in a subquery, the engine returns NULL
/// instead of FALSE.
fn is_constant(expr: &Expr) -> bool {
    match expr {
        Expr::Value(_) | Expr::TypedString(_) => true,
        Expr::Cast { expr, .. } | Expr::Nested(expr) | Expr::UnaryOp { expr, .. } => is_constant(expr),
        Expr::BinaryOp { left, right, .. } => is_constant(left) && is_constant(right),
        Expr::Function(function) => match &function.args {
            FunctionArguments::None => true,
            FunctionArguments::Subquery(_) => false,
            FunctionArguments::List(list) => list
                .args
                .iter()
                .all(|arg| matches!(arg, FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) if is_constant(value))),
        },
        _ => false,
    }
}

fn mend(statement: &mut ast::Statement) -> Result<()> {
    match VisitMut::visit(statement, &mut Mender) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Written;

impl VisitorMut for Written {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        // Its errors were reported before.
        let _ = distinct_expr(expr);
        ControlFlow::Continue(())
    }
}

fn named_as_written(statement: &mut ast::Statement) {
    let _ = VisitMut::visit(statement, &mut Written);
}

/// Refuses `EXCEPT ALL` and `INTERSECT ALL`: the engine does not count equal rows.
fn multisets(body: &SetExpr) -> Result<()> {
    use ast::{SetOperator, SetQuantifier};
    let SetExpr::SetOperation { op, set_quantifier, left, right } = body else { return Ok(()) };
    if *op != SetOperator::Union && matches!(set_quantifier, SetQuantifier::All | SetQuantifier::AllByName) {
        return Err(Error::Sql(format!(
            "{op} ALL is not supported; use {op}, or number equal rows with ROW_NUMBER() and include the number"
        )));
    }
    multisets(left)?;
    multisets(right)
}

/// Rewrites `LIKE … ESCAPE c` to the escape character of the engine.
fn escaped(pattern: &mut Expr, escape_char: &mut Option<ast::ValueWithSpan>) -> Result<()> {
    let Some(escape) = escape_char.take() else { return Ok(()) };
    let escape = escape.into_string().unwrap_or_default();
    let mut characters = escape.chars();
    let escape = match (characters.next(), characters.next()) {
        (one, None) => one,
        _ => return Err(Error::Sql(format!("ESCAPE '{escape}' must be one character"))),
    };
    let text = match pattern {
        Expr::Value(value) => match &mut value.value {
            Value::SingleQuotedString(text) => text,
            _ => return Err(Error::Sql("the pattern of LIKE … ESCAPE must be a text".into())),
        },
        _ => return Err(Error::Sql("the pattern of LIKE … ESCAPE must be a text".into())),
    };
    let mut result = String::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            c if Some(c) == escape => match rest.next() {
                Some(next) => result.extend(['\\', next]),
                None => return Err(Error::Sql(format!("the pattern '{text}' ends with its escape character"))),
            },
            '\\' => result.push_str("\\\\"),
            other => result.push(other),
        }
    }
    *text = result;
    Ok(())
}

/// Makes a DECIMAL of an integer that no BIGINT holds, as PostgreSQL does. The engine makes a DOUBLE of it, which has 15
/// digits.
fn large_integer(expr: &mut Expr) -> Result<()> {
    let Expr::Value(value) = expr else { return Ok(()) };
    let Value::Number(text, _) = &value.value else { return Ok(()) };
    let is_integer = text.len() <= 38 && text.bytes().all(|c| c.is_ascii_digit());
    if is_integer && text.parse::<u64>().is_err() {
        let wrong = |e: &dyn std::fmt::Display| Error::Sql(format!("cannot parse the number {text}: {e}"));
        let written = format!("CAST('{text}' AS DECIMAL(38,0))");
        let cast = Parser::new(&GenericDialect {}).try_with_sql(&written).map_err(|e| wrong(&e))?.parse_expr();
        *expr = cast.map_err(|e| wrong(&e))?;
    }
    Ok(())
}

/// Translates the Java pattern of `DATE_FORMAT` and `TO_CHAR` to a pattern of the engine.
fn date_format(function: &mut ast::Function) -> Result<()> {
    let name = function.name.to_string();
    if !name.eq_ignore_ascii_case("date_format") && !name.eq_ignore_ascii_case("to_char") {
        return Ok(());
    }
    let FunctionArguments::List(list) = &mut function.args else { return Ok(()) };
    let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(pattern))) = list.args.get_mut(1) else {
        return Ok(());
    };
    let unknown = |problem: &str| {
        Error::Sql(format!(
            "{name}: {problem}; a pattern is a text of yyyy, yy, MM, MMM, dd, HH, hh, mm, ss, SSS, a, EEE, with other \
             letters between single quotes"
        ))
    };
    let Expr::Value(value) = pattern else { return Err(unknown("the pattern is not a text")) };
    let Value::SingleQuotedString(text) = &mut value.value else {
        return Err(unknown("the pattern is not a text"));
    };
    if !text.contains('%') {
        *text = java_pattern(text).map_err(|problem| unknown(&problem))?;
    }
    Ok(())
}

fn java_pattern(text: &str) -> Result<String, String> {
    let letters: Vec<char> = text.chars().collect();
    let mut result = String::new();
    let mut i = 0;
    while i < letters.len() {
        let c = letters[i];
        let run = letters[i..].iter().take_while(|l| **l == c).count();
        match (c, run) {
            ('\'', _) => {
                let Some(end) = letters[i + 1..].iter().position(|l| *l == '\'') else {
                    return Err("a quote is not closed".into());
                };
                if end == 0 {
                    result.push('\'');
                }
                result.extend(&letters[i + 1..i + 1 + end]);
                i += end + 2;
                continue;
            }
            ('y' | 'u', 1 | 3 | 4) => result.push_str("%Y"),
            ('y' | 'u', 2) => result.push_str("%y"),
            ('M' | 'L', 1) => result.push_str("%-m"),
            ('M' | 'L', 2) => result.push_str("%m"),
            ('M' | 'L', 3) => result.push_str("%b"),
            ('M' | 'L', 4) => result.push_str("%B"),
            ('d', 1) => result.push_str("%-d"),
            ('d', 2) => result.push_str("%d"),
            ('D', 3) => result.push_str("%j"),
            ('H', 1) => result.push_str("%-H"),
            ('H', 2) => result.push_str("%H"),
            ('h', 1) => result.push_str("%-I"),
            ('h', 2) => result.push_str("%I"),
            ('m', 1) => result.push_str("%-M"),
            ('m', 2) => result.push_str("%M"),
            ('s', 1) => result.push_str("%-S"),
            ('s', 2) => result.push_str("%S"),
            ('S', 3) => result.push_str("%3f"),
            ('S', 6) => result.push_str("%6f"),
            ('a', 1) => result.push_str("%p"),
            ('E', 1..=3) => result.push_str("%a"),
            ('E', 4) => result.push_str("%A"),
            (c, _) if c.is_ascii_alphabetic() => return Err(format!("'{}' is not known", c.to_string().repeat(run))),
            (c, _) => result.extend(std::iter::repeat_n(c, run)),
        }
        i += run;
    }
    Ok(result)
}

/// Gives names of their own to output columns that the engine would confuse. Labels are set later.
fn tell_apart(body: &mut SetExpr) {
    match body {
        SetExpr::Select(select) => {
            // ORDER BY refers to these names.
            let mut seen: HashSet<String> = HashSet::new();
            for (i, item) in select.projection.iter_mut().enumerate() {
                let (expr, name) = match item {
                    SelectItem::UnnamedExpr(expr) => (&*expr, bare_name(expr)),
                    SelectItem::ExprWithAlias { expr, alias } => (&*expr, fold(&alias.value)),
                    _ => continue,
                };
                if !seen.insert(name) {
                    let alias = Ident::with_quote('"', format!("column {}", i + 1));
                    *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
                }
            }
        }
        SetExpr::Query(query) => tell_apart(&mut query.body),
        SetExpr::SetOperation { left, .. } => tell_apart(left),
        _ => {}
    }
}

/// The name that the engine gives an expression: without casts, in lower case.
fn bare_name(expr: &Expr) -> String {
    match expr {
        Expr::Cast { expr, .. } => bare_name(expr),
        Expr::Nested(inner) => bare_name(inner),
        other => fold(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(sql: &str) -> String {
        parse(sql).map(|(s, _)| s.to_string()).unwrap_or_else(|e| e.to_string())
    }

    #[test]
    fn is_distinct_from_has_the_precedence_of_a_comparison() {
        let same = |a: &str, b: &str| assert_eq!(parsed(a), parsed(b).replace(['(', ')'], ""), "{a}");
        same("SELECT a IS DISTINCT FROM b AND c", "SELECT (a IS DISTINCT FROM b) AND c");
        let (statement, _) = parse("SELECT 1 WHERE x AND a IS NOT DISTINCT FROM b OR c").unwrap();
        let Statement::Statement(statement) = statement else { panic!() };
        let ast::Statement::Query(query) = *statement else { panic!() };
        let SetExpr::Select(select) = *query.body else { panic!() };
        let Some(Expr::BinaryOp { left, op: BinaryOperator::Or, .. }) = select.selection else { panic!() };
        let Expr::BinaryOp { right, op: BinaryOperator::And, .. } = *left else { panic!() };
        assert!(matches!(*right, Expr::IsNotDistinctFrom(..)));
        assert!(parsed("SELECT a IS DISTINCT FROM b = c").contains("parentheses"));
        let (_, labels) = parse("SELECT a IS DISTINCT FROM b").unwrap();
        assert_eq!(labels.unwrap(), ["a IS DISTINCT FROM b"]);
    }

    #[test]
    fn like_patterns_use_the_escape_character_of_the_engine() {
        assert_eq!(parsed("SELECT a LIKE '10!%!!\\' ESCAPE '!'"), "SELECT a LIKE '10\\%\\!\\\\'");
        assert!(parsed("SELECT a LIKE b ESCAPE '!'").contains("must be a text"));
        assert!(parsed("SELECT a LIKE 'x!' ESCAPE '!'").contains("ends with its escape character"));
    }

    #[test]
    fn java_date_patterns_are_translated() {
        assert_eq!(java_pattern("yyyy-MM-dd'T'HH:mm:ss.SSS").unwrap(), "%Y-%m-%dT%H:%M:%S.%3f");
        assert_eq!(java_pattern("EEE, d MMM yy hh a''").unwrap(), "%a, %-d %b %y %I %p'");
        assert!(java_pattern("qq").unwrap_err().contains("'qq' is not known"));
        assert!(java_pattern("yyyy 'o").is_err());
    }

    #[test]
    fn the_depth_of_every_kind_of_chain_is_bounded() {
        let n = 20_000;
        let deep = [
            format!("SELECT 1{}", "+1".repeat(n)),
            format!("SELECT {}1{}", "(".repeat(n), ")".repeat(n)),
            format!("SELECT {}1{}", "abs(".repeat(n), ")".repeat(n)),
            format!("SELECT {} 1", "- ".repeat(n)),
            format!("SELECT {} TRUE", "NOT ".repeat(n)),
            format!("SELECT 1 WHERE a = 1{}", " OR a = 1".repeat(n)),
            format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(n)),
            format!("SELECT 1{}", "::BIGINT".repeat(n)),
            format!("SELECT TRUE{}", " IS NULL".repeat(n)),
            format!("SELECT a{}", "[1]".repeat(n)),
            format!("SELECT {}1{}", "CASE WHEN TRUE THEN ".repeat(n), " END".repeat(n)),
            format!("SELECT 1 FROM t{}", " JOIN t ON TRUE".repeat(n)),
            format!("SELECT 1 FROM t{}", ", t".repeat(n)),
            format!("SELECT 1 FROM {}t{}", "(SELECT 1 FROM ".repeat(n), ")".repeat(n)),
            format!("WITH a AS (SELECT 1){} SELECT 1", ", b AS (SELECT * FROM a)".repeat(n)),
            format!("SELECT 'a'{}", " || 'a'".repeat(n)),
            format!("SELECT 1{}", " AT TIME ZONE 'UTC'".repeat(n)),
        ];
        for sql in deep {
            let error = parsed(&sql);
            assert!(error.contains("too deep"), "{}: {}", &sql[..60], &error[..error.len().min(200)]);
        }
        let values: Vec<String> = (0..n).map(|i| i.to_string()).collect();
        parse(&format!("SELECT {}, 1 + 1 FROM t WHERE a IN ({})", values.join(", "), values.join(", "))).unwrap();
        parse(&format!("SELECT CASE a {} END", "WHEN 1 THEN 2 ".repeat(200))).unwrap();
    }

    #[test]
    fn duplicate_output_columns_get_distinct_names() {
        let (_, labels) = parse("SELECT k, K, COUNT(*), count(*), CAST(k AS DOUBLE) FROM t").unwrap();
        assert_eq!(labels.unwrap(), ["k", "K", "COUNT(*)", "count(*)", "CAST(k AS DOUBLE)"]);
        assert!(parsed("SELECT k, K FROM t").contains("AS \"column 2\""));
    }
}
