use super::*;

const BEGIN: Millis = Millis(1_000);

#[test]
fn a_subscription_has_so_many_tickets_in_their_time_and_others_do_not_notice() {
    let tickets = Tickets::default();
    let (one, two) = (SubscriptionId(1), SubscriptionId(2));
    for _ in 0..PER_SUBSCRIPTION_MAX {
        tickets.count(one, BEGIN).unwrap();
    }
    let last = Millis(BEGIN.plus(TICKET_TTL).0 - 1);
    for now in [BEGIN, last] {
        assert!(matches!(tickets.count(one, now), Err(Refusal::Overloaded(_))));
        tickets.count(two, now).unwrap();
    }
    tickets.count(one, BEGIN.plus(TICKET_TTL)).unwrap();
}

#[test]
fn only_so_many_subscriptions_are_counted() {
    let tickets = Tickets::default();
    for number in 0..2 * SUBSCRIPTIONS_MAX as u64 {
        tickets.count(SubscriptionId(number), BEGIN).unwrap();
    }
    assert_eq!(tickets.0.lock().unwrap().sizes().0, SUBSCRIPTIONS_MAX);
}
