//! Tables under moved time, under many threads, and under arbitrary sequences of requests.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{
    DataType, KeyPart, LimitAction, RateLimitSpec, RateTable, RequestEnd, RowPlace, SetError, Stored, TableRow,
    Threshold, Verdict,
};
use crate::core::units::Rate;

fn spec(rate: Option<(u32, u64)>, burst: u32, concurrent: Option<u32>, table_size: usize) -> Arc<RateLimitSpec> {
    Arc::new(RateLimitSpec {
        name: "test".into(),
        key: vec![KeyPart::Path],
        rate: rate.map(|(count, seconds)| Rate { count, period: Duration::from_secs(seconds) }),
        burst,
        concurrent,
        action: LimitAction::Deny,
        except: Vec::new(),
        table_size,
        expire: Duration::from_secs(60),
        store: [].into(),
        deny_if: Vec::new(),
        deny_status: 403,
    })
}

/// A key that is shown as this text.
fn key(text: &str) -> Vec<u8> {
    let mut key = vec![b't', text.len() as u8];
    key.extend_from_slice(text.as_bytes());
    key
}

fn secs(value: u64) -> Duration {
    Duration::from_secs(value)
}

fn is_admitted(table: &RateTable, text: &str, now: Instant) -> bool {
    matches!(table.admit(&key(text), true, now), Verdict::Admitted { .. })
}

fn permit(table: &RateTable, text: &str, now: Instant) -> Option<RowPlace> {
    match table.admit(&key(text), true, now) {
        Verdict::Admitted { place } => Some(place.expect("the limit counts requests in flight")),
        Verdict::Limited { .. } | Verdict::Denied { .. } => None,
    }
}

fn row(table: &RateTable, text: &str, now: Instant) -> Option<TableRow> {
    table.rows(now).into_iter().find(|row| row.key == text)
}

#[test]
fn keys_are_limited_apart() {
    let start = Instant::now();
    let table = RateTable::new(spec(Some((10, 10)), 2, None, 1000));
    for (at, text, expected) in [
        (0, "a", true),
        (0, "a", true),
        (0, "a", false),
        (0, "b", true),
        (1, "a", true),
        (1, "a", false),
        (3, "a", true),
        (3, "a", true),
        (3, "a", false),
        (3, "b", true),
        (3, "b", true),
        (3, "b", false),
    ] {
        assert_eq!(is_admitted(&table, text, start + secs(at)), expected, "{text} at {at} s");
    }
    let Verdict::Limited { retry_after, .. } = table.admit(&key("a"), true, start + secs(3)) else {
        panic!("over its limit")
    };
    assert_eq!(retry_after, secs(1));
    assert_eq!(
        row(&table, "a", start + secs(3)),
        Some(TableRow {
            key: "a".into(),
            in_use: 0,
            expires_in: secs(60),
            rate_count: 9,
            in_flight: 0,
            total: 9,
            limited: 4,
            values: vec![4, 0, 9, 9],
        })
    );
    assert_eq!(table.len(), 2);
}

#[test]
fn requests_in_flight_are_counted_and_given_back() {
    let now = Instant::now();
    let table = RateTable::new(spec(None, 1, Some(2), 1000));
    let first = permit(&table, "a", now).unwrap();
    let second = permit(&table, "a", now).unwrap();
    assert!(permit(&table, "a", now).is_none());
    assert!(permit(&table, "b", now).is_some(), "another key has its own places");
    assert_eq!(row(&table, "a", now).unwrap().in_flight, 2);
    drop(first);
    let third = permit(&table, "a", now).unwrap();
    assert!(permit(&table, "a", now).is_none());
    drop((second, third));
    assert_eq!(row(&table, "a", now).unwrap().in_use, 0);
}

#[test]
fn a_request_refused_for_its_rate_holds_no_place_and_one_refused_for_its_place_takes_no_rate() {
    let start = Instant::now();
    let table = RateTable::new(spec(Some((1, 1)), 2, Some(1), 1000));
    let held = permit(&table, "a", start).unwrap();
    for _ in 0..5 {
        assert!(permit(&table, "a", start).is_none(), "one is in flight");
    }
    drop(held);
    let held = permit(&table, "a", start).expect("only one of two was taken from the bucket");
    drop(held);
    assert!(permit(&table, "a", start).is_none(), "the bucket is empty");
    assert_eq!(row(&table, "a", start).unwrap().in_flight, 0);
}

#[test]
fn a_key_is_forgotten_when_it_expires_but_not_while_it_is_used_or_owes() {
    let start = Instant::now();
    let table = RateTable::new(spec(None, 1, Some(5), 1000));
    let held = permit(&table, "held", start).unwrap();
    drop(permit(&table, "idle", start).unwrap());
    assert_eq!(table.rows(start + secs(59)).len(), 2);
    assert_eq!(table.rows(start + secs(60)).len(), 1);
    assert_eq!(table.drop_expired(start + secs(60)), 1);
    assert_eq!(row(&table, "held", start + secs(61)).unwrap().in_flight, 1);
    drop(held);
    assert_eq!(table.drop_expired(start + secs(60)), 1);
    assert!(table.is_empty());

    // One a minute with a burst of five: the bucket needs five minutes, and `expire` is only one.
    let table = RateTable::new(spec(Some((1, 60)), 5, None, 1000));
    for _ in 0..5 {
        assert!(is_admitted(&table, "a", start));
    }
    assert!(is_admitted(&table, "a", start + secs(61)));
    assert!(!is_admitted(&table, "a", start + secs(61)), "an expired key would have been given a full bucket");
}

#[test]
fn an_expired_row_that_is_still_there_starts_anew() {
    let start = Instant::now();
    let table = RateTable::new(spec(Some((10, 1)), 10, None, 1000));
    assert!(is_admitted(&table, "a", start));
    assert!(is_admitted(&table, "a", start + secs(60)));
    assert_eq!(row(&table, "a", start + secs(60)).unwrap().total, 1);
}

#[test]
fn a_full_table_forgets_what_was_not_used_lately() {
    let start = Instant::now();
    let table = RateTable::new(spec(Some((1, 1000)), 1, None, 40));
    for number in 0..40 {
        assert!(is_admitted(&table, &format!("old{number}"), start));
    }
    // Ten of them come again and are denied: used, so kept.
    for number in 0..10 {
        assert!(!is_admitted(&table, &format!("old{number}"), start + secs(1)));
    }
    for number in 0..30 {
        assert!(is_admitted(&table, &format!("new{number}"), start + secs(2)));
        table.check_invariants();
    }
    assert_eq!(table.len(), 40);
    for number in 0..10 {
        assert!(!is_admitted(&table, &format!("old{number}"), start + secs(3)), "old{number} was forgotten");
    }
}

#[test]
fn a_full_table_forgets_the_expired_first() {
    let start = Instant::now();
    let table = RateTable::new(spec(None, 1, Some(9), 4));
    for (text, at) in [("a", 0), ("b", 50), ("c", 50), ("d", 50)] {
        drop(permit(&table, text, start + secs(at)).unwrap());
    }
    drop(permit(&table, "e", start + secs(61)).unwrap());
    let mut keys: Vec<String> = table.rows(start + secs(61)).into_iter().map(|row| row.key).collect();
    keys.sort();
    assert_eq!(keys, ["b", "c", "d", "e"]);
}

#[test]
fn a_table_full_of_keys_in_use_stays_bounded_and_its_counts_true() {
    let now = Instant::now();
    let table = RateTable::new(spec(None, 1, Some(1), 3));
    let mut held: Vec<RowPlace> = (0..10).map(|number| permit(&table, &format!("k{number}"), now).unwrap()).collect();
    table.check_invariants();
    assert_eq!(table.len(), 3);
    let last = held.pop().unwrap();
    assert!(permit(&table, "k9", now).is_none(), "k9 is in the table and in flight");
    drop(held);
    assert!(permit(&table, "k9", now).is_none(), "permits of forgotten keys are nobody else's");
    drop(last);
    assert!(permit(&table, "k9", now).is_some());
    assert_eq!(table.rows(now).iter().map(|row| row.in_flight).sum::<u32>(), 0);
}

#[test]
fn clearing_gives_back_the_allowance_and_keeps_what_is_in_flight() {
    let now = Instant::now();
    let table = RateTable::new(spec(Some((1, 10)), 1, Some(1), 1000));
    let held = permit(&table, "a b", now).unwrap();
    drop(permit(&table, "c", now).unwrap());
    assert_eq!(table.clear(Some(&HashSet::from(["nobody"])), now), 0);
    assert_eq!(table.clear(Some(&HashSet::from(["a%20b", "nobody"])), now), 1);
    assert!(permit(&table, "a b", now).is_none(), "still in flight");
    drop(held);
    assert!(permit(&table, "a b", now).is_some());
    assert!(permit(&table, "c", now).is_none());
    assert_eq!(table.clear(None, now), 2);
    assert!(table.is_empty());
}

#[test]
fn a_sweep_goes_through_a_large_table_in_steps() {
    let start = Instant::now();
    let table = RateTable::new(spec(None, 1, Some(9), 100_000));
    let mut held = Vec::new();
    for number in 0..100_000 {
        let permit = permit(&table, &format!("k{number}"), start).unwrap();
        held.extend((number % 1000 == 0).then_some(permit));
    }
    let full = table.len();
    let (mut calls, mut dropped) = (0, 0);
    while table.len() > held.len() && calls < 100 {
        let step = table.drop_expired(start + secs(60));
        assert!(step <= 16 * 2048, "workers wait that long for a shard");
        table.check_invariants();
        calls += 1;
        dropped += step;
    }
    assert!((2..=8).contains(&calls), "{calls} calls");
    assert_eq!((table.len(), dropped), (held.len(), full - held.len()));
    assert_eq!(table.drop_expired(start + secs(60)), 0, "what is in use stays");
}

#[test]
fn the_rate_shown_slides() {
    let start = Instant::now();
    let table = RateTable::new(spec(Some((1000, 10)), 1000, None, 1000));
    for _ in 0..100 {
        assert!(is_admitted(&table, "a", start));
    }
    for (at, expected) in [(0, 100), (9, 100), (10, 100), (15, 50), (19, 10), (20, 0), (40, 0)] {
        assert_eq!(row(&table, "a", start + secs(at)).unwrap().rate_count, expected, "after {at} s");
    }
}

#[test]
fn a_changed_limit_keeps_what_its_keys_owe() {
    let now = Instant::now();
    let old = RateTable::new(spec(Some((1, 10)), 4, Some(3), 1000));
    let held: Vec<_> = (0..2).map(|_| permit(&old, "a", now).unwrap()).collect();
    let new = old.carry_over(spec(Some((1, 10)), 2, Some(3), 1000), now);
    assert_eq!(row(&new, "a", now).unwrap().in_flight, 2);
    assert_eq!(row(&new, "a", now).unwrap().total, 2);
    let third = permit(&new, "a", now).expect("half of the bucket was owed, and half of it is left");
    assert!(permit(&new, "a", now).is_none());
    drop((held, third));
    assert_eq!(row(&new, "a", now).unwrap().in_flight, 0);

    let other_key = Arc::new(RateLimitSpec { key: vec![KeyPart::Host], ..(**old.spec()).clone() });
    assert!(old.carry_over(other_key, now).is_empty());
}

#[test]
fn many_threads_are_admitted_exactly_as_often_as_the_limit_says() {
    const THREADS: usize = 8;
    const TRIES: usize = 5000;
    let now = Instant::now();
    let table = RateTable::new(spec(Some((1, 1_000_000)), 700, None, 10_000));
    let admitted: Vec<AtomicU64> = (0..5).map(|_| AtomicU64::new(0)).collect();
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for number in 0..TRIES {
                    let choice = number % admitted.len();
                    if is_admitted(&table, &format!("k{choice}"), now) {
                        admitted[choice].fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    for count in &admitted {
        assert_eq!(count.load(Ordering::Relaxed), 700);
    }
    let rows = table.rows(now);
    assert_eq!(rows.iter().map(|row| row.total).sum::<u64>(), (THREADS * TRIES) as u64);
    assert_eq!(rows.iter().map(|row| row.limited).sum::<u64>(), (THREADS * TRIES - 5 * 700) as u64);
    table.check_invariants();
}

#[test]
fn many_threads_never_hold_more_places_than_there_are() {
    let now = Instant::now();
    let table = RateTable::new(spec(None, 1, Some(3), 100));
    let (inside, most) = (AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..5000 {
                    if let Some(permit) = permit(&table, "a", now) {
                        most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                        drop(permit);
                    }
                }
            });
        }
    });
    assert!((1..=3).contains(&most.load(Ordering::SeqCst)));
    assert_eq!(row(&table, "a", now).unwrap().in_flight, 0);
}

fn tracking(store: &[(DataType, u64)], deny_if: &[(DataType, u64)]) -> RateTable {
    let stored =
        |(what, seconds): &(DataType, u64)| Stored { what: *what, period: what.is_rate().then(|| secs(*seconds)) };
    RateTable::new(Arc::new(RateLimitSpec {
        action: LimitAction::Track,
        store: store.iter().map(stored).collect(),
        deny_if: deny_if.iter().map(|(what, least)| Threshold { what: *what, least: *least }).collect(),
        ..(*spec(None, 1, None, 1000)).clone()
    }))
}

fn values(table: &RateTable, text: &str, now: Instant) -> Vec<u64> {
    row(table, text, now).map(|row| row.values).unwrap_or_default()
}

#[test]
fn everything_that_can_be_stored_is_counted() {
    let start = Instant::now();
    let store: Vec<(DataType, u64)> = DataType::ALL.iter().map(|what| (*what, 10)).collect();
    let table = tracking(&store, &[]);
    let ask = |first| match table.admit(&key("a"), first, start) {
        Verdict::Admitted { place } => place.expect("its end is counted"),
        other => panic!("{other:?}"),
    };
    let (one, two, three) = (ask(true), ask(false), ask(true));
    one.count_end(&RequestEnd { bytes_in: 10, bytes_out: 100, error: true, failure: false }, start);
    two.count_end(&RequestEnd { bytes_in: 20, bytes_out: 200, error: false, failure: true }, start);
    drop((one, two));
    // gpt0 gpc0 conn_cnt conn_rate conn_cur sess_cnt sess_rate http_req_cnt http_req_rate http_err_cnt http_err_rate
    // bytes_in_cnt bytes_in_rate bytes_out_cnt bytes_out_rate gpc1 http_fail_cnt http_fail_rate
    assert_eq!(values(&table, "a", start), [0, 0, 3, 3, 1, 2, 2, 3, 3, 1, 1, 30, 30, 300, 300, 0, 1, 1]);
    let later = values(&table, "a", start + secs(25));
    assert_eq!(later, [0, 0, 3, 0, 1, 2, 0, 3, 0, 1, 0, 30, 0, 300, 0, 0, 1, 0], "rates fade, counts stay");
    drop(three);
    assert_eq!(row(&table, "a", start).unwrap().in_use, 0);
}

#[test]
fn numbers_are_set_and_act() {
    use DataType::{Gpc0, Gpt0, HttpReqCnt, HttpReqRate};
    let start = Instant::now();
    let table = tracking(&[(Gpt0, 0), (Gpc0, 0), (HttpReqRate, 10)], &[(Gpt0, 1), (HttpReqRate, 5)]);
    let denied = |text: &str, now| matches!(table.admit(&key(text), true, now), Verdict::Denied { .. });
    assert!(!denied("a", start));
    assert_eq!(table.set("a", &[(Gpt0, 1), (Gpc0, 7)], start), Ok(()));
    assert!(denied("a", start) && !denied("b", start));
    assert_eq!(values(&table, "a", start), [1, 7, 2]);
    assert_eq!(table.set("a", &[(Gpt0, 0)], start), Ok(()));
    assert!(!denied("a", start));
    assert_eq!(table.set("new", &[(HttpReqRate, 40)], start), Ok(()));
    assert_eq!(values(&table, "new", start + secs(9)), [0, 0, 40], "it stands for a period");
    assert_eq!(values(&table, "new", start + secs(15)), [0, 0, 20], "and fades over the next");
    assert_eq!(table.set("a", &[(Gpt0, 1), (HttpReqCnt, 1)], start), Err(SetError::NotStored));
    assert_eq!(values(&table, "a", start)[0], 0, "all or none");
    assert_eq!(table.set("a|b", &[(Gpt0, 1)], start), Err(SetError::Key));
    // Four asked, the fifth is one too many.
    for _ in 0..3 {
        assert!(!denied("c", start));
    }
    assert!(!denied("c", start) && denied("c", start));
}

#[test]
fn a_limits_own_numbers_can_be_set_too() {
    let now = Instant::now();
    let limit = RateLimitSpec {
        deny_if: vec![Threshold { what: DataType::Gpc0, least: 2 }],
        ..(*spec(Some((1, 1000)), 1, None, 1000)).clone()
    };
    let table = RateTable::new(Arc::new(limit));
    assert!(is_admitted(&table, "a", now) && !is_admitted(&table, "a", now) && !is_admitted(&table, "a", now));
    assert_eq!(table.set("a", &[(DataType::Gpc0, 2), (DataType::HttpReqCnt, 9)], now), Ok(()));
    assert!(matches!(table.admit(&key("a"), false, now), Verdict::Denied { place: None }));
    assert_eq!(row(&table, "a", now).unwrap().total, 10);
}

#[test]
fn a_changed_limit_keeps_what_is_stored_as_before() {
    let now = Instant::now();
    let old = tracking(&[(DataType::Gpt0, 0)], &[]);
    assert_eq!(old.set("a", &[(DataType::Gpt0, 3)], now), Ok(()));
    assert_eq!(values(&old.carry_over(old.spec().clone(), now), "a", now), [3]);
    let other = tracking(&[(DataType::Gpt0, 0), (DataType::Gpc1, 0)], &[]);
    assert_eq!(values(&old.carry_over(other.spec().clone(), now), "a", now), [0, 0]);
}

#[derive(Debug, Clone)]
enum Step {
    Admit(u8),
    Release(usize),
    Wait(u32),
    Clear(u8),
    ClearAll,
    DropExpired,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        10 => (0u8..12).prop_map(Step::Admit),
        5 => any::<usize>().prop_map(Step::Release),
        3 => (0u32..40_000).prop_map(Step::Wait),
        1 => (0u8..12).prop_map(Step::Clear),
        1 => Just(Step::ClearAll),
        1 => Just(Step::DropExpired),
    ];
    proptest::collection::vec(step, 0..400)
}

proptest! {
    #[test]
    fn any_sequence_keeps_the_table_bounded_and_the_counts_true(
        steps in steps(),
        table_size in 1usize..20,
        concurrent in 1u32..4,
    ) {
        let mut now = Instant::now();
        let table = RateTable::new(spec(Some((1, 1)), 3, Some(concurrent), table_size));
        let mut held: Vec<(String, RowPlace)> = Vec::new();
        for step in steps {
            match step {
                Step::Admit(number) => {
                    let text = format!("k{number}");
                    let before = row(&table, &text, now);
                    match permit(&table, &text, now) {
                        Some(permit) => {
                            prop_assert!(before.is_none_or(|row| row.in_flight < concurrent));
                            held.push((text, permit));
                        }
                        None => prop_assert!(before.is_some(), "a key not seen before is never limited"),
                    }
                }
                Step::Release(which) if !held.is_empty() => drop(held.swap_remove(which % held.len())),
                Step::Release(_) => {}
                Step::Wait(ms) => now += Duration::from_millis(ms.into()),
                Step::Clear(number) => drop(table.clear(Some(&HashSet::from([&*format!("k{number}")])), now)),
                Step::ClearAll => drop(table.clear(None, now)),
                Step::DropExpired => drop(table.drop_expired(now)),
            }
            table.check_invariants();
            let mut in_flight: HashMap<&str, u32> = HashMap::new();
            for (text, _) in &held {
                *in_flight.entry(text).or_default() += 1;
            }
            for row in table.rows(now) {
                // A key that was forgotten while in use counts from 0 again, so there may be more permits than shown.
                prop_assert!(row.in_flight <= in_flight.get(row.key.as_str()).copied().unwrap_or(0));
                prop_assert!(row.in_flight <= concurrent && row.limited <= row.total);
            }
        }
        drop(held);
        prop_assert!(table.rows(now).iter().all(|row| row.in_flight == 0));
    }
}
