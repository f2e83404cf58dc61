//! Bounds the texts that a query makes before they are allocated.
//!
//! DataFusion accounts for the memory of operators, but not for what a function allocates: `repeat('x', 1000000000)` is a
//! few bytes of SQL. Each function whose result can be much larger than its arguments is therefore wrapped. The wrapper
//! computes the size of the result for a whole batch first and refuses a size above the limit. While the function runs, it
//! reserves that size in the memory that queries share. `||` is replaced by such a function. A large constant would be
//! copied to each row of a batch, so it is allowed only where it is compared. The batches of an answer are reserved in the
//! same memory.
//!
//! Not bounded here: functions whose result is about as large as their arguments, and aggregates, which account for
//! their memory.

use crate::error::Result;
use crate::expressions::each_expression;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::compute::kernels::concat_elements::concat_elements_dyn;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DataFusionError, Result as DfResult, ScalarValue};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator, ReturnFieldArgs, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// The functions whose results can be much larger than their arguments.
const FUNCTIONS: [&str; 6] = ["repeat", "lpad", "rpad", "replace", "concat", "concat_ws"];
/// The result of one call for one batch may take this part of the memory that queries share: one eighth.
const SHARE: usize = 8;
/// The most bytes of one result, however much memory there is. An array of texts has offsets of 31 bits.
const MOST: usize = 1 << 30;

/// The limit for texts, and the memory that they are reserved in.
#[derive(Debug, Clone)]
pub(crate) struct Limit {
    most: usize,
    pool: Arc<dyn MemoryPool>,
}

impl Limit {
    pub(crate) fn new(memory_limit: usize, pool: Arc<dyn MemoryPool>) -> Limit {
        Limit { most: (memory_limit / SHARE).min(MOST), pool }
    }

    /// A reservation for the batches of an answer, empty at first.
    pub(crate) fn answer(&self) -> MemoryReservation {
        MemoryConsumer::new("the answer").register(&self.pool)
    }

    /// Reserves memory for the result of a function.
    fn take(&self, function: &str, bytes: u64) -> DfResult<MemoryReservation> {
        let most = self.most;
        let needed = usize::try_from(bytes).unwrap_or(usize::MAX);
        if needed > most {
            return Err(DataFusionError::ResourcesExhausted(format!(
                "{function} would make {bytes} bytes for one batch of rows, at most {most} are allowed"
            )));
        }
        let reservation = MemoryConsumer::new(function).register(&self.pool);
        reservation.try_grow(needed)?;
        Ok(reservation)
    }

    /// The largest constant that may be copied to each row of a batch, in bytes.
    fn constant(&self, state: &SessionState) -> usize {
        self.most / state.config().batch_size().max(1)
    }
}

/// Replaces the functions of a session with the wrapped ones.
pub(crate) fn bound_functions(state: &mut SessionState, limit: &Limit) -> Result<()> {
    use datafusion::execution::FunctionRegistry;
    for name in FUNCTIONS {
        let inner = state.udf(name)?;
        state.register_udf(Arc::new(ScalarUDF::new_from_impl(Bounded { inner, limit: limit.clone() })))?;
    }
    Ok(())
}

/// A function that refuses to make a result above the limit.
#[derive(Debug)]
struct Bounded {
    inner: Arc<ScalarUDF>,
    limit: Limit,
}

impl PartialEq for Bounded {
    fn eq(&self, other: &Self) -> bool {
        self.inner == other.inner && self.limit.most == other.limit.most
    }
}

impl Eq for Bounded {}

impl Hash for Bounded {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn schema_name(&self, args: &[Expr]) -> DfResult<String> {
        self.inner.inner().schema_name(args)
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        self.inner.inner().return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        self.inner.inner().return_field_from_args(args)
    }

    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        self.inner.inner().coerce_types(types)
    }

    // `simplify` is not forwarded: simplified forms would not be bounded.
    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let bytes = size(self.name(), &args.args, args.number_rows, self.limit.most as u64)?;
        let _taken = self.limit.take(self.name(), bytes)?;
        self.inner.inner().invoke_with_args(args)
    }
}

/// Bytes of the results for all rows: an upper bound, which is exact above `most`.
fn size(function: &str, args: &[ColumnarValue], rows: usize, most: u64) -> DfResult<u64> {
    // Constant arguments make one result, which is copied to each row only where it is used.
    let rows = if args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_))) { 1 } else { rows };
    let texts: Vec<Texts> = args.iter().map(Texts::of).collect::<DfResult<_>>()?;
    let length = |arg: usize, row: usize| texts.get(arg).map_or(0, |t| t.length(row));
    let count = |arg: usize, row: usize| texts.get(arg).map_or(0, |t| t.count(row));
    let sum = |of: &dyn Fn(usize) -> u64| (0..rows).fold(0_u64, |sum, row| sum.saturating_add(of(row)));
    let all = |row: usize| (0..texts.len()).map(|arg| length(arg, row)).sum::<u64>();
    Ok(match function {
        "repeat" => sum(&|row| length(0, row).saturating_mul(count(1, row))),
        "lpad" | "rpad" => sum(&|row| count(1, row).saturating_add(length(0, row))),
        "concat_ws" => sum(&|row| all(row).saturating_add(length(0, row).saturating_mul(texts.len() as u64))),
        "replace" => {
            let places = |row: usize| length(0, row).saturating_div(length(1, row).max(1)).saturating_add(1);
            let bound = sum(&|row| length(0, row).saturating_add(places(row).saturating_mul(length(2, row))));
            if bound <= most {
                return Ok(bound);
            }
            let found = |row: usize| match (texts[0].text(row), texts[1].text(row)) {
                (Some(text), Some(what)) => text.matches(what).count() as u64,
                _ => 0,
            };
            sum(&|row| length(0, row).saturating_add(found(row).saturating_mul(length(2, row))))
        }
        _ => sum(&all),
    })
}

/// An argument: texts, or numbers.
struct Texts {
    array: ArrayRef,
    /// Whether its only value is the value of each row.
    constant: bool,
}

impl Texts {
    fn of(arg: &ColumnarValue) -> DfResult<Texts> {
        Ok(match arg {
            ColumnarValue::Array(array) => Texts { array: array.clone(), constant: false },
            ColumnarValue::Scalar(value) => Texts { array: value.to_array()?, constant: true },
        })
    }

    fn place(&self, row: usize) -> Option<usize> {
        let place = if self.constant { 0 } else { row };
        (place < self.array.len() && self.array.is_valid(place)).then_some(place)
    }

    fn text(&self, row: usize) -> Option<&str> {
        let place = self.place(row)?;
        match self.array.data_type() {
            DataType::Utf8 => Some(self.array.as_string::<i32>().value(place)),
            DataType::LargeUtf8 => Some(self.array.as_string::<i64>().value(place)),
            DataType::Utf8View => Some(self.array.as_string_view().value(place)),
            _ => None,
        }
    }

    fn length(&self, row: usize) -> u64 {
        self.text(row).map_or(0, |text| text.len() as u64)
    }

    /// A count argument. The function itself reports an argument that is not a number.
    fn count(&self, row: usize) -> u64 {
        let (Some(place), DataType::Int64) = (self.place(row), self.array.data_type()) else { return 0 };
        u64::try_from(self.array.as_primitive::<Int64Type>().value(place)).unwrap_or(0)
    }
}

/// Replaces each `||` of an analysed plan with a bounded function.
pub(crate) fn bound_operators(plan: LogicalPlan, limit: &Limit) -> DfResult<LogicalPlan> {
    let operator = Arc::new(ScalarUDF::new_from_impl(Concatenation {
        signature: Signature::variadic_any(Volatility::Immutable),
        limit: limit.clone(),
    }));
    each_expression(plan, &|expr, schema| Ok(concatenation(expr, schema, &operator)))
}

fn concatenation(expr: Expr, schema: &DFSchema, operator: &Arc<ScalarUDF>) -> Transformed<Expr> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::StringConcat, right }) = expr else {
        return Transformed::no(expr);
    };
    // A chain becomes one call. Calls inside calls would derive their types again at each level, and copy all texts before.
    let mut parts = match *left {
        Expr::ScalarFunction(call) if call.func == *operator => call.args,
        left => vec![left],
    };
    let data_type = parts[0].get_type(schema).ok();
    if data_type.as_ref().is_some_and(is_text) && data_type == right.get_type(schema).ok() {
        parts.push(*right);
        return Transformed::yes(call(operator, parts));
    }
    let left = if parts.len() == 1 { parts.remove(0) } else { call(operator, parts) };
    Transformed::no(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), Operator::StringConcat, right)))
}

fn call(operator: &Arc<ScalarUDF>, parts: Vec<Expr>) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(operator.clone(), parts))
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// `||` of texts of one type: NULL if one of them is.
#[derive(Debug)]
struct Concatenation {
    signature: Signature,
    limit: Limit,
}

impl PartialEq for Concatenation {
    fn eq(&self, other: &Self) -> bool {
        self.limit.most == other.limit.most
    }
}

impl Eq for Concatenation {}

impl Hash for Concatenation {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.limit.most.hash(state);
    }
}

impl ScalarUDFImpl for Concatenation {
    fn name(&self) -> &str {
        "||"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        Ok(types.first().cloned().unwrap_or(DataType::Utf8))
    }

    // The same as the field of the operator, so that no schema changes.
    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        let types: Vec<_> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(Field::new(self.name(), self.return_type(&types)?, nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let bytes = size(self.name(), &args.args, args.number_rows, self.limit.most as u64)?;
        let _taken = self.limit.take(self.name(), bytes)?;
        let is_constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if is_constant { 1 } else { args.number_rows };
        let parts = args.args.iter().map(|arg| arg.to_array(rows)).collect::<DfResult<Vec<_>>>()?;
        let joined = joined(parts)?;
        Ok(if is_constant {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&joined, 0)?)
        } else {
            ColumnarValue::Array(joined)
        })
    }
}

/// The texts of each row, one after the other. Neighbours are joined first, so that no text is copied once for each other.
fn joined(mut parts: Vec<ArrayRef>) -> DfResult<ArrayRef> {
    while parts.len() > 1 {
        let join = |pair: &[ArrayRef]| match pair {
            [left, right] => concat_elements_dyn(left, right),
            alone => Ok(alone[0].clone()),
        };
        parts = parts.chunks(2).map(join).collect::<Result<_, _>>()?;
    }
    parts.pop().ok_or_else(|| DataFusionError::Execution("|| has at least two sides".into()))
}

/// Refuses large constants that would be copied to each row. The plan must be optimised, so that constant calls are
/// evaluated.
pub(crate) fn check_constants(plan: &LogicalPlan, state: &SessionState, limit: &Limit) -> DfResult<()> {
    let most = limit.constant(state);
    plan.apply_with_subqueries(|node| {
        let is_copied = match node {
            LogicalPlan::Filter(_) | LogicalPlan::TableScan(_) | LogicalPlan::Join(_) => false,
            // A single row of constants.
            _ => !node.inputs().iter().all(|input| matches!(input, LogicalPlan::EmptyRelation(_))),
        };
        if !is_copied {
            return Ok(TreeNodeRecursion::Continue);
        }
        node.apply_expressions(|expr| {
            expr.apply(|e| {
                if let Expr::Literal(value, _) = e
                    && let Some(Some(text)) = value.try_as_str()
                    && text.len() > most
                {
                    return Err(DataFusionError::ResourcesExhausted(format!(
                        "a constant text of {} bytes would be copied to each row, at most {most} are allowed",
                        text.len()
                    )));
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(())
}

/// Bytes of a batch's own rows.
pub(crate) fn batch_bytes(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(bytes).sum()
}

/// Bytes of a column's own rows. Its buffers may belong to a larger batch.
fn bytes(column: &ArrayRef) -> usize {
    match column.data_type() {
        DataType::Utf8View => {
            let texts = column.as_string_view();
            16 * texts.len() + (0..texts.len()).map(|i| texts.value(i).len()).sum::<usize>()
        }
        _ => column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size()),
    }
}
