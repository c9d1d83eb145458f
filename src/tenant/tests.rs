use super::*;

#[test]
fn usernames_are_dns_labels() {
    for good in ["m", "mike", "a-b", "0", &"x".repeat(63)] {
        assert_eq!(Username::parse(good).map(|name| name.to_string()), Ok(good.to_owned()));
    }
    let long = "x".repeat(64);
    for bad in ["", "Mike", "mi_ke", "-m", "m-", "mi.ke", "mïke", "m ", "xn--mke-5na", &long] {
        assert_eq!(Username::parse(bad), Err(UsernameError::Malformed), "{bad}");
    }
    assert_eq!(Username::parse("www"), Err(UsernameError::Reserved));
}
